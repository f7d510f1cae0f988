//! Results as versioned JSON: keys in snake_case, the unit as suffix.

use serde_json::{Map, Value, json};

use super::Report;
use crate::estimate::{CaseResult, Estimated, Metric};
use crate::numeric::{Distribution, Interval, LEVEL};
use crate::scenario::Known;

/// The keys that have one.
const KEYS: &[(Metric, &str, &str)] = &[
    (Metric::Duration, "duration_s", "s"),
    (Metric::AcceleratorHours, "gpu_hours", "h"),
    (Metric::Energy, "energy_kwh", "kWh"),
    (Metric::Water, "water_l", "L"),
    (Metric::Cost, "cost_usd", "USD"),
    (Metric::NodePower, "node_power_w", "W"),
];

/// The keys under `co2e_kg`.
const EMISSIONS: &[(Metric, &str)] = &[
    (Metric::Operational, "operational"),
    (Metric::Market, "operational_market"),
    (Metric::Embodied, "embodied"),
    (Metric::Total, "total"),
];

impl Report<'_> {
    /// The results as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let results = self.results;
        let value = json!({
            "schema": 1,
            "title": results.title,
            "baseline": results.baseline,
            "draws": results.draws,
            "seed": results.seed,
            "level": LEVEL,
            "boundary": "facility",
            "sweep": results.sweep_key,
            "variants": results.cases.iter().map(case).collect::<Vec<_>>(),
            "thresholds": self.thresholds_json(),
            "crossings": results.crossings(),
            "sensitivity": results.swings.iter().map(|swing| json!({
                "input": swing.input, "variant": swing.variant, "saving_percent_at_5": swing.ends[0], "saving_percent_at_95": swing.ends[1],
            })).collect::<Vec<_>>(),
            "assumptions": results.assumptions.iter().map(|assumption| json!({
                "name": assumption.name,
                "savings_percent": assumption.savings.iter().map(|(variant, time, energy)| json!({
                    "variant": variant, "duration_s": time, "energy_kwh": energy,
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "published": results.published.iter().map(|check| json!({
                "case": check.published.case,
                "quantity": format!("{:?}", check.published.quantity),
                "unit": check.published.unit,
                "printed": check.published.printed,
                "computed": check.computed,
                "difference_percent": check.difference_percent(),
                "same_digits": check.same_digits(),
                "source": results.sources.iter().find(|(key, _)| *key == check.published.source).map(|(_, text)| text),
            })).collect::<Vec<_>>(),
            "inputs": results.inputs.iter().map(|input| json!({
                "name": input.name, "unit": input.unit, "distribution": distribution(&input.distribution),
                "class": input.class, "source": input.from,
            })).collect::<Vec<_>>(),
            "notes": results.notes,
            "documents": self.provenance().into_iter().map(|(kind, file, sha256)| json!({
                "kind": kind, "file": file, "sha256_12": sha256,
            })).collect::<Vec<_>>(),
        });
        // Writing a `Value` cannot fail: its keys are strings.
        serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
    }

    fn thresholds_json(&self) -> Value {
        match &self.results.threshold {
            None => Value::Null,
            Some((key, mark, _)) => json!({
                "key": key,
                "saving_percent": mark,
                "largest_value": self.results.thresholds.iter().map(|found| {
                    (super::word(found.metric).to_lowercase(), json!(found.value))
                }).collect::<Map<_, _>>(),
            }),
        }
    }
}

fn case(case: &CaseResult) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), json!(case.name));
    if let Some(at) = case.at {
        out.insert("at".into(), json!(at));
    }
    out.insert("model".into(), json!(case.model));
    out.insert("accelerator".into(), json!(case.accelerator));
    out.insert("accelerators".into(), json!(case.accelerators));
    out.insert("parameters".into(), case.parameters.map_or(Value::Null, super::ledger::whole));
    out.insert("trained_parameters".into(), case.trained_parameters.map_or(Value::Null, super::ledger::whole));
    for (metric, key, unit) in KEYS {
        out.insert((*key).into(), case.metric(*metric).map_or(Value::Null, |found| estimated(found, unit)));
    }
    let emissions =
        EMISSIONS.iter().map(|(metric, key)| ((*key).to_string(), case.metric(*metric).map_or(Value::Null, |f| estimated(f, "kg"))));
    out.insert("co2e_kg".into(), Value::Object(emissions.collect()));
    out.insert("offers".into(), json!(case.offers));
    if !case.savings_percent.is_empty() {
        let saving = |metric: Metric| case.saving(metric).map_or(Value::Null, |saving| interval(saving, 1.0));
        let mut savings: Map<String, Value> = KEYS.iter().map(|(metric, key, _)| ((*key).to_string(), saving(*metric))).collect();
        savings.insert("co2e_kg".into(), Value::Object(EMISSIONS.iter().map(|(m, key)| ((*key).to_string(), saving(*m))).collect()));
        out.insert("savings_percent".into(), Value::Object(savings));
    }
    if !case.share_above_mark.is_empty() {
        let shares = case.share_above_mark.iter().filter_map(|(metric, share)| {
            let key = KEYS.iter().find(|(other, ..)| other == metric).map(|(_, key, _)| (*key).to_string())?;
            Some((key, json!(share)))
        });
        out.insert("share_of_draws_above_threshold".into(), Value::Object(shares.collect()));
    }
    out.insert("basis".into(), json!(case.basis));
    out.insert("missing".into(), json!(case.missing));
    out.insert("notes".into(), json!(case.notes));
    if let Some(memory) = &case.memory {
        out.insert(
            "memory_bytes".into(),
            json!({
                "model": memory.model.value(), "needed": memory.needed.value(), "capacity": memory.capacity.value(), "fits": memory.fits(),
                "instead": memory.instead,
                "parameters": memory.parts.parameters.value(), "gradients": memory.parts.gradients.value(),
                "optimizer": memory.parts.optimizer.value(), "activations": memory.parts.activations.value(),
                "transient": memory.parts.transient.value(), "host": memory.parts.host.value(),
                "context": overhead(&memory.context), "fragmentation": overhead(&memory.fragmentation),
            }),
        );
    }
    if let Some(quality) = &case.quality {
        out.insert(
            "quality".into(),
            json!({
                "value": quality.printed.parse::<f64>().ok(), "printed": quality.printed, "metric": quality.metric, "task": quality.task,
                "model": quality.model, "class": "published", "source": quality.from,
            }),
        );
    }
    let phases = case.phases.iter().map(|phase| {
        let mut value = json!({
            "purpose": phase.purpose.word(),
            "sequence_length": phase.sequence_length,
            "steps": phase.steps,
            "micro_batch": phase.micro_batch,
            "step_s": phase.step.total().value(),
            "compute_s": phase.step.compute.value(),
            "memory_s": phase.step.memory.value(),
            "launch_s": phase.step.launch.value(),
            "optimizer_s": phase.step.optimizer.value(),
            "exchange_s": phase.step.exchange.value(),
            "host_s": phase.step.host.value(),
            "bubble_s": phase.step.bubble.value(),
            "collectives": phase.collectives.iter().map(|(c, time)| json!({
                "name": c.name, "kind": c.kind.word(), "message_bytes": c.message, "count": c.times, "devices": c.devices,
                "exposed_s": time.value(),
            })).collect::<Vec<_>>(),
            "linear_share": phase.linear_share,
            "mixing_share": phase.mixing_share,
            "gather_share": phase.gather_share,
            "elementwise_share": phase.elementwise_share,
            "executed_matmul_flops": phase.flops,
            "bytes_moved": phase.bytes,
        });
        for (key, time) in [("input_wait_s", phase.input_wait), ("lost_s", phase.lost)] {
            if let Some(time) = time {
                value[key] = json!(time.value());
            }
        }
        if let Some((throttled, energy)) = phase.power {
            value["throttled_s"] = json!(throttled.value());
            value["step_energy_j"] = json!({
                "idle": energy.idle.value(), "products": energy.products.value(), "traffic": energy.traffic.value(),
                "links": energy.links.value(),
            });
        }
        value
    });
    out.insert("phases".into(), Value::Array(phases.collect()));
    Value::Object(out)
}

/// What a framework takes beside a step, with its class and its source.
fn overhead(known: &Known) -> Value {
    json!({ "value": known.distribution.centre(), "class": known.class.word(), "source": known.from })
}

fn estimated(found: &Estimated, unit: &str) -> Value {
    let scale = 1.0 / found.metric.unit_size(unit).unwrap_or(1.0);
    let mut value = interval(found.interval, scale);
    if let Value::Object(map) = &mut value {
        map.insert("class".into(), json!(found.class));
        if !found.lacks.is_empty() {
            map.insert("lacks".into(), json!(found.lacks));
        }
    }
    value
}

fn interval(interval: Interval, scale: f64) -> Value {
    let interval = interval.scaled(scale);
    json!({ "value": interval.value, "low": interval.low, "high": interval.high, "level": LEVEL })
}

fn distribution(distribution: &Distribution) -> Value {
    match *distribution {
        Distribution::Fixed(value) => json!({ "value": value }),
        Distribution::Uniform { low, high } => json!({ "low": low, "high": high }),
        Distribution::Triangular { low, mode, high } => json!({ "low": low, "mode": mode, "high": high }),
        Distribution::Normal { mean, standard_deviation } => json!({ "mean": mean, "standard_deviation": standard_deviation }),
        Distribution::Lognormal { median, geometric_standard_deviation } => {
            json!({ "median": median, "geometric_standard_deviation": geometric_standard_deviation })
        }
    }
}
