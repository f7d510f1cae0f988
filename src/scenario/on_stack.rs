//! Models as the software stack that a scenario names computes them.

use crate::arch::Model;
use crate::calibrate::Stack;
use crate::document::{Data, Diagnostic, Kind, Node, Resolver, Table, overlay};
use crate::training::Companions;

/// What a scenario says of the models of a case, by the keys that it says it at.
pub(super) struct ModelTables([(&'static str, Option<Node>); 3]);

impl ModelTables {
    /// Takes them out of a scenario.
    pub(super) fn taken(scenario: &mut Table) -> Self {
        let mut beside = |technique: &str, name: &str| {
            let Data::Table(techniques) = &mut scenario.get_mut("techniques")?.data else { return None };
            let Data::Table(technique) = &mut techniques.get_mut(technique)?.data else { return None };
            technique.remove(name)
        };
        let (teacher, generator) = (beside("distillation", "teacher"), beside("replaced_tokens", "generator"));
        let model = scenario.remove("model");
        Self([("model", model), ("techniques.distillation.teacher", teacher), ("techniques.replaced_tokens.generator", generator)])
    }

    /// The model of the case and those that run beside it, as `read` makes them.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read(
        &self,
        mut read: impl FnMut(&str, Node) -> Result<Model, Diagnostic>,
    ) -> Result<(Option<Model>, Companions), Diagnostic> {
        let mut of = |index: usize| {
            let (key, node) = &self.0[index];
            node.clone().map(|node| read(key, node)).transpose()
        };
        Ok((of(0)?, Companions { teacher: of(1)?, generator: of(2)? }))
    }
}

/// A model with the kernels of a stack, and with its vocabulary where `tensor` accelerators share it. They go over the file that the
/// scenario starts from, and under what the scenario itself says of the model.
///
/// # Errors
/// The model cannot have them.
pub(super) fn on_stack(resolver: &mut Resolver<'_>, stack: &Stack, own: Node, tensor: u64) -> Result<Model, Diagnostic> {
    let mut own = own;
    let origin = own.origin.clone();
    let file = if let Data::Table(table) = &mut own.data { table.remove("use") } else { None };
    let file = file.map(|name| resolver.resolve(Kind::Model, name)).transpose()?;
    let name = own.find("name").or_else(|| file.as_ref()?.find("name")).and_then(Node::as_str).unwrap_or_default().to_string();
    let base = file.unwrap_or(Node { data: Data::Table(Table::default()), origin });
    let mut node = stack.kernels(&name).chain([own]).fold(base, overlay::overlay);
    if let Some(&Data::Integer(tokens)) = node.find("embedding.vocabulary").map(|node| &node.data) {
        let padded = stack.vocabulary(tokens.try_into().unwrap_or_default(), tensor);
        node = overlay::overlay(node, overlay::assignment(&format!("embedding.vocabulary={padded}"))?);
    }
    Model::read(&node)
}
