//! Predictions beside the rows that they are of: CSV and JSON.

use serde_json::{Map, Value, json};

use crate::calibrate::{Prediction, RunTable};
use crate::document::Diagnostic;
use crate::perf::StepEnergy;
use crate::units::Joules;

/// A row's prediction, or why there is none.
pub type Predicted = Result<Prediction, Diagnostic>;

/// The columns that are added.
const ADDED: [&str; 22] = [
    "predicted_s",
    "predicted_low_s",
    "predicted_high_s",
    "predicted_w",
    "predicted_low_w",
    "predicted_high_w",
    "basis",
    "bound_by",
    "predicted_micro_batch",
    "predicted_interleaving",
    "compute_s",
    "memory_s",
    "launch_s",
    "host_s",
    "exchange_s",
    "optimizer_s",
    "bubble_s",
    "throttled_s",
    "idle_j",
    "products_j",
    "traffic_j",
    "links_j",
];

/// Where the basis stands in them.
const BASIS: usize = 6;

/// The added values of a row, as many as [`ADDED`]; numbers as JSON numbers.
fn added(predicted: &Predicted) -> Vec<Value> {
    match predicted {
        Ok(prediction) => {
            let step = &prediction.step;
            let (seconds, watts) = (prediction.seconds, prediction.watts);
            let joules = |of: fn(&StepEnergy) -> Joules| json!(prediction.energy.map(|energy| of(&energy).value()));
            vec![
                json!(seconds.value),
                json!(seconds.low),
                json!(seconds.high),
                json!(watts.map(|watts| watts.value)),
                json!(watts.map(|watts| watts.low)),
                json!(watts.map(|watts| watts.high)),
                json!(prediction.basis.to_string()),
                json!(prediction.bound_by()),
                json!(prediction.schedule.micro_batch),
                json!(prediction.schedule.interleaving),
                json!(step.compute.value()),
                json!(step.memory.value()),
                json!(step.launch.value()),
                json!(step.host.value()),
                json!(step.exchange.value()),
                json!(step.optimizer.value()),
                json!(step.bubble.value()),
                json!(prediction.throttled()),
                joules(|energy| energy.idle),
                joules(|energy| energy.products),
                joules(|energy| energy.traffic),
                joules(|energy| energy.links),
            ]
        }
        Err(why) => {
            let mut values = vec![Value::Null; ADDED.len()];
            values[BASIS] = json!(format!("not predicted: {why}"));
            values
        }
    }
}

/// The rows as they stand, with the prediction of each in further columns; empty cells where there is none.
#[must_use]
pub fn csv(table: &RunTable, predicted: &[Predicted]) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let kept: Vec<usize> = (0..table.columns.len()).filter(|index| !ADDED.contains(&table.columns[*index].as_str())).collect();
    writer.write_record(kept.iter().map(|index| table.columns[*index].as_str()).chain(ADDED)).ok();
    for ((values, _), predicted) in table.rows.iter().zip(predicted) {
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let own = kept.iter().map(|index| values.get(*index).cloned().unwrap_or_default());
        writer.write_record(own.chain(added(predicted).iter().map(cell))).ok();
    }
    // The writer is a vector and its records are text: neither step can fail.
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// The same as versioned JSON.
#[must_use]
pub fn json(table: &RunTable, predicted: &[Predicted]) -> String {
    let row = |((values, _), predicted): (&(Vec<String>, _), &Predicted)| {
        let own = table.columns.iter().zip(values).map(|(column, value)| (column.clone(), json!(value)));
        let added = ADDED.iter().zip(added(predicted)).map(|(column, value)| ((*column).to_string(), value));
        Value::Object(own.chain(added).collect::<Map<String, Value>>())
    };
    let rows: Vec<Value> = table.rows.iter().zip(predicted).map(row).collect();
    serde_json::to_string_pretty(&json!({ "schema": 1, "level": 0.9, "rows": rows })).unwrap_or_default() + "\n"
}
