//! Reading a configuration key by key, and building the model document.

use crate::document::{Data, Diagnostic, Node, Origin, Table, overlay};

/// A configuration on its way to a model document.
pub(super) struct Import<'a> {
    config: &'a Node,
    model: Node,
    notes: Vec<String>,
}

/// A value that a document can hold.
pub(super) trait Value {
    fn data(self) -> Data;
}

impl Value for u64 {
    fn data(self) -> Data {
        i64::try_from(self).map_or(Data::Float(self as f64), Data::Integer)
    }
}

impl Value for f64 {
    fn data(self) -> Data {
        Data::Float(self)
    }
}

impl Value for bool {
    fn data(self) -> Data {
        Data::Boolean(self)
    }
}

impl Value for &str {
    fn data(self) -> Data {
        Data::String(self.to_string())
    }
}

impl Value for Vec<Node> {
    fn data(self) -> Data {
        Data::Array(self)
    }
}

impl Value for Node {
    fn data(self) -> Data {
        self.data
    }
}

impl<'a> Import<'a> {
    pub(super) fn new(config: &'a Node, family: &str) -> Self {
        let model = Node { data: Data::Table(Table::default()), origin: config.origin.clone() };
        let mut import = Self { config, model, notes: Vec::new() };
        let name = import.architecture().map_or_else(|| family.to_string(), |class| format!("{family}, {class}"));
        import.put("schema", 1_u64);
        import.put("name", name.as_str());
        import.put("source", "config");
        import.put("sources.config.citation", "config.json, as Hugging Face transformers 4.44.2 reads it");
        import.put("sources.config.year", 2024_u64);
        import
    }

    /// The finished document.
    pub(super) fn finish(mut self) -> Node {
        if !self.notes.is_empty() {
            let notes = self.notes.join(" ");
            self.put("notes", notes.as_str());
        }
        self.model
    }

    /// What a reader should know of the import.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The family's `model_type`.
    pub(super) fn family(&self) -> &'a str {
        self.config.find("model_type").and_then(Node::as_str).unwrap_or_default()
    }

    /// The number of entries of a table.
    pub(super) fn entries(&self, key: &str) -> Option<u64> {
        self.find(key).and_then(Node::as_table).map(|table| table.iter().count() as u64)
    }

    /// Which attention kernels the configuration asks for: eager where it does not say.
    pub(super) fn implementation(&mut self) -> Result<(), Diagnostic> {
        let key = if self.says("attn_implementation") { "attn_implementation" } else { "_attn_implementation" };
        let implementation = match self.text(key, "eager")?.as_str() {
            "eager" => "eager",
            "sdpa" | "flash_attention_2" => "fused",
            _ => return Err(self.wrong(key, "eager, sdpa, flash_attention_2")),
        };
        self.set("attention.implementation", implementation, key);
        Ok(())
    }

    /// The class that `architectures` names first.
    pub(super) fn architecture(&self) -> Option<String> {
        self.config.find("architectures.0").and_then(Node::as_str).map(str::to_string)
    }

    /// Refuses what changes the arithmetic and is not modelled.
    pub(super) fn refuse_unmodelled(&self) -> Result<(), Diagnostic> {
        if self.says("architectures") && self.words("architectures", &[]).is_err() {
            return Err(self.wrong("architectures", "a list of class names"));
        }
        Ok(())
    }

    fn find(&self, key: &str) -> Option<&'a Node> {
        self.config.find(key)
    }

    /// Whether the configuration says it.
    pub(super) fn says(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether the configuration says that it is null. Where the class's default is another, null is a choice of its own;
    /// elsewhere it is as good as not said.
    pub(super) fn is_null(&self, key: &str) -> bool {
        let (table, key) = key.rsplit_once('.').map_or((Some(self.config), key), |(path, key)| (self.find(path), key));
        table.and_then(Node::as_table).is_some_and(|table| table.is_null(key))
    }

    /// A message about the value of `key`.
    pub(super) fn wrong(&self, key: &str, allowed: impl Into<String>) -> Diagnostic {
        let found = self.find(key).map_or_else(|| "nothing".to_string(), Node::shown);
        Diagnostic::new(self.config.place(key), key, found, allowed)
    }

    /// A whole number that may be zero.
    pub(super) fn count(&self, key: &str, default: u64) -> Result<u64, Diagnostic> {
        match self.find(key).map(|node| &node.data) {
            None => Ok(default),
            Some(Data::Integer(value)) => u64::try_from(*value).map_err(|_| self.wrong(key, "a whole number, 0 or more")),
            Some(_) => Err(self.wrong(key, "a whole number, 0 or more")),
        }
    }

    /// A size, which is at least 1.
    pub(super) fn size(&self, key: &str, default: u64) -> Result<u64, Diagnostic> {
        match self.count(key, default)? {
            size @ 1..=0xff_ffff => Ok(size),
            _ => Err(self.wrong(key, format!("1 to {}", 0xff_ffff))),
        }
    }

    /// A number.
    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64, Diagnostic> {
        match self.find(key).map(|node| &node.data) {
            None => Ok(default),
            Some(Data::Integer(value)) => Ok(*value as f64),
            Some(Data::Float(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    /// A rate of dropout.
    pub(super) fn rate(&self, key: &str, default: f64) -> Result<f64, Diagnostic> {
        let rate = self.number(key, default)?;
        if (0.0..1.0).contains(&rate) { Ok(rate) } else { Err(self.wrong(key, "a rate of 0 or more and below 1")) }
    }

    /// true or false; null is false, as Python reads it.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Diagnostic> {
        match self.find(key).map(|node| &node.data) {
            None => Ok(default && !self.is_null(key)),
            Some(Data::Boolean(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A word.
    pub(super) fn text(&self, key: &str, default: &str) -> Result<String, Diagnostic> {
        match self.find(key) {
            None => Ok(default.to_string()),
            Some(node) => node.as_str().map(str::to_string).ok_or_else(|| self.wrong(key, "a word")),
        }
    }

    /// Whether the value is one whole number, where a list may stand.
    pub(super) fn single(&self, key: &str) -> bool {
        self.find(key).is_some_and(|node| matches!(node.data, Data::Integer(_)))
    }

    /// A list of whole numbers.
    pub(super) fn sizes(&self, key: &str, default: &[u64]) -> Result<Vec<u64>, Diagnostic> {
        let Some(node) = self.find(key) else { return Ok(default.to_vec()) };
        let Data::Array(items) = &node.data else { return Err(self.wrong(key, "a list of whole numbers")) };
        let size = |item: &Node| if let Data::Integer(value) = item.data { u64::try_from(value).ok() } else { None };
        items.iter().map(|item| size(item).ok_or_else(|| self.wrong(key, "a list of whole numbers"))).collect()
    }

    /// A list of words.
    pub(super) fn words(&self, key: &str, default: &[&str]) -> Result<Vec<String>, Diagnostic> {
        let Some(node) = self.find(key) else { return Ok(default.iter().map(|word| (*word).to_string()).collect()) };
        let Data::Array(items) = &node.data else { return Err(self.wrong(key, "a list of words")) };
        items.iter().map(|item| item.as_str().map(str::to_string).ok_or_else(|| self.wrong(key, "a list of words"))).collect()
    }

    /// An activation function, by the name that transformers gives it (`activations.py`).
    pub(super) fn activation(&self, key: &str, default: &str) -> Result<&'static str, Diagnostic> {
        self.known_activation(key, &self.text(key, default)?)
    }

    /// The activation function that `key` calls `name`.
    pub(super) fn known_activation(&self, key: &str, name: &str) -> Result<&'static str, Diagnostic> {
        const KNOWN: &[(&str, &str)] = &[
            ("gelu", "gelu"),
            ("gelu_10", "gelu_clipped"),
            ("gelu_accurate", "gelu_new"),
            ("gelu_fast", "gelu_fast"),
            ("gelu_new", "gelu_new"),
            ("gelu_python", "gelu_python"),
            ("gelu_pytorch_tanh", "gelu"),
            ("laplace", "laplace"),
            ("leaky_relu", "leaky_relu"),
            ("linear", "linear"),
            ("mish", "mish"),
            ("quick_gelu", "quick_gelu"),
            ("relu", "relu"),
            ("relu2", "relu_squared"),
            ("relu6", "relu6"),
            ("sigmoid", "sigmoid"),
            ("silu", "silu"),
            ("swish", "silu"),
            ("tanh", "tanh"),
        ];
        KNOWN.iter().find(|(known, _)| *known == name).map(|(_, ours)| *ours).ok_or_else(|| {
            let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
            let nearest = crate::document::nearest(name, known.iter().copied());
            Diagnostic { nearest, ..self.wrong(key, known.join(", ")) }
        })
    }

    /// Refuses a value of `key` other than `expected`.
    pub(super) fn require(&self, key: &str, expected: &str) -> Result<(), Diagnostic> {
        if self.text(key, expected)? == expected {
            Ok(())
        } else {
            Err(self.wrong(key, format!("\"{expected}\": nothing else is modelled")))
        }
    }

    /// Sets a value of the model that comes from no single key.
    pub(super) fn put(&mut self, path: &str, value: impl Value) {
        let origin = self.config.origin.clone();
        self.insert(path, value.data(), origin);
    }

    /// Sets a value of the model that comes from `key`, so that what is wrong with it is wrong there.
    pub(super) fn set(&mut self, path: &str, value: impl Value, key: &str) {
        let origin = self.config.place(key).named(key);
        self.insert(path, value.data(), origin);
    }

    fn insert(&mut self, path: &str, data: Data, origin: Origin) {
        let leaf = Node { data, origin: origin.clone() };
        let node = path.rsplit('.').fold(leaf, |node, key| {
            let mut table = Table::default();
            table.insert(key, node);
            Node { data: Data::Table(table), origin: origin.clone() }
        });
        let model = std::mem::replace(&mut self.model, Node { data: Data::Boolean(false), origin });
        self.model = overlay::overlay(model, node);
    }

    /// A word, or `default` where it is not said.
    pub(super) fn word(&self, key: &str, default: &str) -> Result<String, Diagnostic> {
        let Some(node) = self.find(key) else { return Ok(default.to_string()) };
        node.as_str().map(str::to_string).ok_or_else(|| self.wrong(key, "a word"))
    }

    /// A list of whole numbers as a document has it.
    pub(super) fn whole(&self, numbers: &[u64]) -> Vec<Node> {
        numbers.iter().map(|number| Node { data: number.data(), origin: self.config.origin.clone() }).collect()
    }

    /// A table from dotted paths, for a group of layers.
    pub(super) fn table(&self, entries: Vec<(&str, Data)>) -> Node {
        let mut import = Self {
            config: self.config,
            model: Node { data: Data::Table(Table::default()), origin: self.config.origin.clone() },
            notes: Vec::new(),
        };
        for (path, data) in entries {
            let origin = self.config.origin.clone();
            import.insert(path, data, origin);
        }
        import.model
    }
}
