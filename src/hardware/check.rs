//! Whether a profile can be true: physics, plausible ranges, sources.

use std::collections::{BTreeMap, BTreeSet};

use super::accelerator::{Accelerator, Precision};
use super::node::NodeProfile;
use super::performance::Performance;
use crate::document::Problem;
use crate::numeric::Estimate;
use crate::source::Source;
use crate::units::Quantity;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Odd, and to be explained in the notes.
    Warning,
    /// Cannot be: the profile is refused.
    Error,
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Key, found, allowed.
    pub problem: Problem,
}

/// Collects findings about one profile.
struct Checker<'a> {
    sources: &'a BTreeMap<String, Source>,
    used: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl<'a> Checker<'a> {
    fn new(sources: &'a BTreeMap<String, Source>) -> Self {
        Self { sources, used: BTreeSet::new(), findings: Vec::new() }
    }

    fn error(&mut self, problem: Problem) {
        self.findings.push(Finding { severity: Severity::Error, problem });
    }

    fn warning(&mut self, key: &str, found: String, allowed: &str) {
        self.findings.push(Finding { severity: Severity::Warning, problem: Problem::new(key, found, allowed) });
    }

    fn source(&mut self, key: &str, source: Option<&String>) {
        match source {
            Some(name) if self.sources.contains_key(name) => {
                self.used.insert(name.clone());
            }
            Some(name) => {
                let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
                self.error(Problem::new(key, format!("source \"{name}\""), format!("a key of [sources]: {}", known.join(", "))));
            }
            None => self.error(Problem::new(key, "no source", "a source for every value, its own or its section's")),
        }
    }

    /// A value inside a plausible range, with a source.
    fn value<Q: Quantity + std::fmt::Display>(
        &mut self,
        key: &str,
        value: Option<&Estimate<Q>>,
        section: Option<&String>,
        low: f64,
        high: f64,
    ) {
        let Some(value) = value else { return };
        self.source(key, value.source.as_ref().or(section));
        for p in [1e-9, 1.0 - 1e-9] {
            let number = value.distribution.quantile(p);
            if number < low || number > high {
                let found = format!("an implausible {} of {}", Q::NAME, Q::new(number));
                self.error(Problem::new(key, found, format!("{} to {}", Q::new(low), Q::new(high))));
                break;
            }
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        for (key, source) in self.sources {
            if !self.used.contains(key) {
                self.warning(&format!("sources.{key}"), "a source that nothing uses".into(), "sources in use");
            }
            if !(1900..=2100).contains(&source.year) {
                self.error(Problem::new(format!("sources.{key}.year"), source.year.to_string(), "1900 to 2100"));
            }
        }
        self.findings
    }
}

impl Accelerator {
    /// What is wrong with this profile, errors and oddities.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut check = Checker::new(&self.sources);
        if self.schema != 1 {
            check.error(Problem::new("schema", self.schema.to_string(), "1"));
        }
        let memory = self.memory.source.as_ref();
        check.value("memory.capacity", Some(&self.memory.capacity), memory, 1e9, 2e12);
        check.value("memory.bandwidth", Some(&self.memory.bandwidth), memory, 1e10, 5e13);
        let sparse = self.sparsity.as_ref().and_then(|sparsity| sparsity.peak.as_ref());
        for (section, rates) in [("peak", Some(&self.peak)), ("achieved_matmul", self.achieved_matmul.as_ref()), ("sparsity.peak", sparse)]
        {
            let Some(rates) = rates else { continue };
            let all = [
                ("fp32", &rates.fp32),
                ("tf32", &rates.tf32),
                ("fp16", &rates.fp16),
                ("bf16", &rates.bf16),
                ("fp8", &rates.fp8),
                ("int8", &rates.int8),
            ];
            for (name, rate) in all {
                check.value(&format!("{section}.{name}"), rate.as_ref(), rates.source.as_ref(), 1e11, 5e16);
            }
        }
        self.check_ratios(&mut check);
        self.check_sparsity(&mut check);
        if let Some(power) = &self.power {
            check.value("power.limit", Some(&power.limit), power.source.as_ref(), 1.0, 3000.0);
            check.value("power.cap", power.cap.as_ref(), power.source.as_ref(), 1.0, 3000.0);
            if let Some(cap) = power.cap.as_ref().filter(|cap| cap.centre() > power.limit.centre()) {
                check.error(Problem::new("power.cap", cap.to_string(), format!("at most the limit {}", power.limit.centre())));
            }
            check.value("power.idle", power.idle.as_ref(), power.source.as_ref(), 0.1, 500.0);
            let limit = power.limit.centre();
            if let Some(idle) = power.idle.as_ref().filter(|idle| idle.distribution.quantile(1.0 - 1e-9) >= limit.value()) {
                check.error(Problem::new("power.idle", idle.to_string(), format!("below the limit {limit}")));
            }
            if let Some(training) = &power.training {
                check.source("power.training", training.source.as_ref().or(power.source.as_ref()));
                if !["accelerator", "node"].contains(&training.boundary.as_str()) {
                    check.error(Problem::new("power.training.boundary", format!("\"{}\"", training.boundary), "accelerator, node"));
                }
                let top = training.high.or(training.value);
                if let Some(top) = top.filter(|top| training.boundary == "accelerator" && *top > limit) {
                    check.error(Problem::new("power.training", top.to_string(), format!("at most the limit {limit}")));
                }
            }
        }
        if let Some(link) = &self.link {
            if let Some(mesh) = link.mesh {
                check.source("link.mesh", link.mesh_source.as_ref());
                if !(1 <= mesh.pair && mesh.pair <= mesh.quad && mesh.quad <= mesh.all && mesh.all <= 64) {
                    let found = format!("{}, {} and {} links", mesh.pair, mesh.quad, mesh.all);
                    check.error(Problem::new("link.mesh", found, "pair <= quad <= all, from 1 to 64"));
                }
            }
            check.value("link.bandwidth_one_way", link.bandwidth_one_way.as_ref(), link.source.as_ref(), 1e9, 5e12);
        }
        if let Some(process) = &self.process {
            check.source("process.feature_size_nm", process.source.as_ref());
            if !(1.0..=100.0).contains(&process.feature_size_nm) {
                check.error(Problem::new("process.feature_size_nm", process.feature_size_nm.to_string(), "1 to 100"));
            }
        }
        if let Some(board) = &self.board {
            check.source("board", board.source.as_ref());
            if let Some(count) = board.multiprocessors.filter(|count| !(1..=2000).contains(count)) {
                check.error(Problem::new("board.multiprocessors", count.to_string(), "1 to 2000"));
            }
            if let Some(clock) = board.boost_clock_mhz.filter(|clock| !(100.0..=5000.0).contains(clock)) {
                check.error(Problem::new("board.boost_clock_mhz", clock.to_string(), "100 to 5000"));
            }
        }
        if let Some(price) = &self.price {
            check.value("price.purchase", price.purchase.as_ref(), price.source.as_ref(), 50.0, 200_000.0);
            check.value("price.cloud", price.cloud.as_ref(), price.source.as_ref(), 0.01, 100.0);
        }
        if let Some(embodied) = &self.embodied {
            check.value("embodied.footprint", Some(&embodied.footprint), embodied.source.as_ref(), 1e3, 5e6);
        }
        check.finish()
    }

    /// A pattern comes with its peaks, which are as many times the dense ones as it skips.
    fn check_sparsity(&self, check: &mut Checker<'_>) {
        let Some(sparsity) = &self.sparsity else { return };
        let (Some(pattern), Some(sparse)) = (sparsity.pattern, &sparsity.peak) else {
            if sparsity.pattern.is_some() != sparsity.peak.is_some() {
                check.error(Problem::new("sparsity.peak", "a pattern or its peaks alone", "a pattern with its peaks"));
            }
            return;
        };
        if pattern.keep == 0 || pattern.keep >= pattern.of {
            check.error(Problem::new("sparsity.pattern", format!("{}:{}", pattern.keep, pattern.of), "keep below of"));
        }
        for precision in Precision::ALL {
            let (Some(sparse), Some(dense)) = (sparse.at(precision), self.peak.at(precision)) else { continue };
            let ratio = sparse.centre() / dense.centre() * pattern.density();
            if !(0.95..=1.05).contains(&ratio) {
                let found = format!("{:.2} times dense", sparse.centre() / dense.centre());
                check.warning(&format!("sparsity.peak.{}", precision.word()), found, "as many times as zeros are skipped");
            }
        }
    }

    /// Dense rates double from one format to the next half as wide; a sparse figure among them shows here.
    fn check_ratios(&self, check: &mut Checker<'_>) {
        let rate = |precision| self.peak.at(precision).map(|rate| rate.centre().value());
        let fp8 = self.peak.fp8.as_ref().map(|rate| rate.centre().value());
        if let (Some(fp8), Some(bf16)) = (fp8, rate(Precision::Bf16)) {
            let ratio = fp8 / bf16;
            if !(1.9..=2.1).contains(&ratio) {
                check.warning("peak.fp8", format!("{ratio:.2} times bf16"), "2 times bf16 where both are dense");
            }
        }
        if let (Some(bf16), Some(fp16)) = (rate(Precision::Bf16), rate(Precision::Fp16))
            && !(0.9..=1.1).contains(&(bf16 / fp16))
        {
            check.warning("peak.bf16", format!("{:.2} times fp16", bf16 / fp16), "as fast as fp16");
        }
        if let (Some(fp16), Some(fp32)) = (rate(Precision::Fp16), rate(Precision::Fp32))
            && fp16 < fp32
        {
            check.error(Problem::new("peak.fp16", format!("{:.2} times fp32", fp16 / fp32), "at least as fast as fp32"));
        }
        if let Some(achieved) = &self.achieved_matmul {
            for precision in Precision::ALL {
                if let (Some(seen), Some(peak)) = (achieved.at(precision), self.peak.at(precision))
                    && seen.centre() > peak.centre()
                {
                    let found = format!("{} at {}, above the peak", seen.centre(), precision.word());
                    check.error(Problem::new("achieved_matmul", found, format!("at most {}", peak.centre())));
                }
            }
        }
    }
}

impl NodeProfile {
    /// What is wrong with this profile.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut check = Checker::new(&self.sources);
        if self.schema != 1 {
            check.error(Problem::new("schema", self.schema.to_string(), "1"));
        }
        if let Some(problem) = self.check_count() {
            check.error(problem);
        }
        let each = self.accelerators_per_node.max(1) as f64;
        check.value("overhead.power", Some(&self.overhead.power), self.overhead.source.as_ref(), 5.0, 1500.0 * each);
        check.value(
            "overhead.share_of_accelerators",
            self.overhead.share_of_accelerators.as_ref(),
            self.overhead.source.as_ref(),
            0.0,
            1.0,
        );
        if let Some(network) = &self.network {
            check.value("network.bandwidth_one_way", Some(&network.bandwidth_one_way), network.source.as_ref(), 1e7, 5e12);
        }
        if let Some(embodied) = &self.embodied {
            check.value("embodied.footprint", Some(&embodied.footprint), embodied.source.as_ref(), 1e4, 2e7);
            check.value("embodied.lifetime", Some(&embodied.lifetime), embodied.source.as_ref(), 3e7, 5e8);
        }
        if let Some(price) = &self.price {
            check.value("price.purchase", Some(&price.purchase), price.source.as_ref(), 100.0, 2e6);
        }
        check.finish()
    }
}

impl Performance {
    /// What is wrong with these parameters.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut check = Checker::new(&self.sources);
        let shares = [
            ("matmul.efficiency", &self.matmul.efficiency, 0.001),
            ("matmul.efficiency_fp32", &self.matmul.efficiency_fp32, 0.001),
            ("matmul.mixing", &self.matmul.mixing, 0.001),
            ("matmul.narrow", &self.matmul.narrow, 0.001),
            ("matmul.unaligned", &self.matmul.unaligned, 0.001),
            ("memory.efficiency", &self.memory.efficiency, 0.001),
            ("memory.gather_efficiency", &self.memory.gather_efficiency, 0.001),
            ("collective.efficiency", &self.collective.efficiency, 0.01),
            ("collective.network_efficiency", &self.collective.network_efficiency, 0.001),
            ("collective.between_passes", &self.collective.between_passes, 0.001),
            ("collective.overlap", &self.collective.overlap, 0.0),
            ("power.voltage_floor", &self.power.voltage_floor, 0.1),
            ("power.share_of_limit", &self.power.share_of_limit, 0.5),
            ("power.idle_share_of_limit", &self.power.idle_share_of_limit, 0.0),
            ("memory_overhead.fragmentation", &self.memory_overhead.fragmentation, 0.0),
        ];
        for (key, share, low) in shares {
            check.value(key, Some(share), None, low, 1.0);
        }
        for (key, time, high) in [
            ("matmul.saturation_time", Some(&self.matmul.saturation_time), 0.1),
            ("launch.overhead", Some(&self.launch.overhead), 0.1),
            ("host.floor_per_pass", Some(&self.host.floor_per_pass), 0.1),
            ("host.exchange", Some(&self.host.exchange), 0.1),
            ("host.overhead_per_step", self.host.overhead_per_step.as_ref(), 3600.0),
            ("collective.latency", Some(&self.collective.latency), 0.1),
        ] {
            check.value(key, time, None, 0.0, high);
        }
        check.value("power.vector_pj_per_flop", Some(&self.power.vector_pj_per_flop), None, 0.1, 500.0);
        check.value("power.tensor_pj_per_flop", Some(&self.power.tensor_pj_per_flop), None, 0.01, 50.0);
        check.value("power.memory_pj_per_byte", Some(&self.power.memory_pj_per_byte), None, 1.0, 2000.0);
        check.value("power.link_pj_per_byte", Some(&self.power.link_pj_per_byte), None, 0.1, 5000.0);
        check.value("power.sharpness", Some(&self.power.sharpness), None, 1.0, 100.0);
        check.value("matmul.wave", Some(&self.matmul.wave), None, 0.0, 1.0);
        check.value("collective.rings", Some(&self.collective.rings), None, 0.0, 1.0);
        check.value("nodes.scatter", Some(&self.nodes.scatter), None, 0.0, 1.0);
        check.value("collective.half_message", Some(&self.collective.half_message), None, 0.0, 1e10);
        check.value("memory_overhead.context", Some(&self.memory_overhead.context), None, 0.0, 1e10);
        check.finish()
    }
}
