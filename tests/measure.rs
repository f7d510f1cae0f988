//! `lowcarb measure` as a user runs it: a driver's library that is really loaded, children that really run.

mod common;

use std::process::Output;

use common::Workplace;
use common::fake_nvml::{Trace, measure, script};
use serde_json::Value;

fn show(workplace: &Workplace, session: &str) -> Value {
    workplace.json(&["session", "show", session, "--format", "json"])
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The stretch of the run in seconds of the script: from the session's own clock.
fn run(workplace: &Workplace, session: &str, origin: f64) -> (f64, f64) {
    let read = |name: &str| std::fs::read_to_string(workplace.path(session).join(name)).unwrap();
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    let started = manifest["started_unix_s"].as_f64().unwrap() - origin;
    let time = |edge: &str| {
        let events = read("events.jsonl");
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found = events.filter(|event| event["event"] == edge && event["window"] == "run");
        started + found.next().unwrap()["t_s"].as_f64().unwrap()
    };
    (time("begin"), time("end"))
}

#[track_caller]
fn close(value: &Value, truth: f64, share: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!((value / truth - 1.0).abs() <= share, "{value} is {:+.3} % of {truth}", 100.0 * (value / truth - 1.0));
}

fn faults(gpu: &str, shown: &Value) -> Vec<String> {
    let faults = shown["faults"].as_array().unwrap().iter();
    faults
        .filter(|fault| fault["uuid"].as_str().is_some_and(|uuid| uuid.starts_with(gpu)))
        .map(|fault| fault["code"].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn energy_is_that_of_the_script() {
    // Square waves, ramps and bursts shorter than the interval; counters that move always and in steps.
    let traces = ["wave:90,400,1.0,0.5", "ramp:60,350,0.7", "wave:100,600,0.2,0.03", "wave:100,600,0.13,0.04"];
    let devices: Vec<String> = traces.iter().flat_map(|trace| [format!("trace={trace}"), format!("trace={trace} step=0.08")]).collect();
    let workplace = Workplace::new();
    let origin = script(&workplace, &devices.iter().map(String::as_str).collect::<Vec<_>>());
    let output = measure(&workplace, &["--idle", "0.3", "--out", "s", "--", "sleep", "4"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let shown = show(&workplace, "s");
    let (begun, ended) = run(&workplace, "s", origin);
    close(&shown["duration_s"], 4.0, 0.02);
    for (index, device) in devices.iter().enumerate() {
        let trace = Trace::parse(device.split_whitespace().next().unwrap().strip_prefix("trace=").unwrap()).unwrap();
        let truth = trace.joules(ended) - trace.joules(begun);
        let gpu = &shown["gpus"][index];
        assert_eq!(gpu["energy_basis"], "counter");
        // Within one movement of a counter its increase is spread by power readings, as many as a busy machine lets there be: at worst an
        // edge of the run is off by half a movement of 600 W, 2.4 % of 4 s. benches/measure.sh says how near it comes on a quiet one.
        let share = if device.contains("step") { 0.05 } else { 0.001 };
        close(&gpu["energy_j"], truth, share);
        close(&gpu["mean_w"], truth / (ended - begun), share);
        let inside = gpu["energy_low_j"].as_f64().unwrap() < truth && truth < gpu["energy_high_j"].as_f64().unwrap();
        assert!(inside, "{device}: {gpu}");
        if device.contains("step") {
            // Movements are seen as often as a busy machine lets readings be.
            close(&gpu["counter_period_s"], 0.08, 0.5);
        }
    }
}

#[test]
fn a_device_without_a_counter_is_measured_by_its_power_readings() {
    let workplace = Workplace::new();
    let origin = script(&workplace, &["trace=wave:90,400,1.0,0.5 counter=no"]);
    measure(&workplace, &["--idle", "0.2", "--out", "s", "--", "sleep", "4"]).assert().success();
    let shown = show(&workplace, "s");
    let (begun, ended) = run(&workplace, "s", origin);
    let trace = Trace::parse("wave:90,400,1.0,0.5").unwrap();
    assert_eq!(shown["gpus"][0]["energy_basis"], "samples");
    // How near readings come depends on how often the machine lets them; the note of a release says how near they came.
    close(&shown["gpus"][0]["energy_j"], trace.joules(ended) - trace.joules(begun), 0.03);
}

#[test]
fn the_baseline_and_what_is_above_it_are_apart() {
    let workplace = Workplace::new();
    let origin = script(&workplace, &["trace=step:80,300,1.0"]);
    measure(&workplace, &["--idle", "0.6", "--out", "s", "--", "sleep", "1"]).assert().success();
    let shown = show(&workplace, "s");
    let (begun, ended) = run(&workplace, "s", origin);
    let gpu = &shown["gpus"][0];
    close(&gpu["idle_w"], 80.0, 0.01);
    close(&gpu["idle_after_w"], 300.0, 0.01);
    let truth = Trace::parse("step:80,300,1.0").unwrap();
    close(&gpu["active_energy_j"], truth.joules(ended) - truth.joules(begun) - 80.0 * (ended - begun), 0.02);
}

#[test]
fn the_program_keeps_its_output_its_code_and_its_input() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let output = measure(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", "cat; echo to stderr >&2; exit 7"])
        .write_stdin("in\0put\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"in\0put\n");
    assert!(talk(&output).starts_with("to stderr\n"), "{}", talk(&output));
    assert_eq!(show(&workplace, "s")["exit_code"], 7);
    // Ended by a signal: 128 and its number, as shells have it.
    measure(&workplace, &["--idle", "0", "--out", "t", "--", "sh", "-c", "kill -9 $$"]).assert().code(137);
    assert_eq!(show(&workplace, "t")["exit_code"], 137);
}

#[test]
fn every_fault_is_labelled_and_no_total_is_wrong() {
    let workplace = Workplace::new();
    let devices = [
        "trace=flat:200 reset=1.0",
        "trace=flat:200 jump=1.0",
        "trace=flat:200 spike=1.0",
        "trace=flat:200 lost=1.2",
        "trace=flat:200 failing=0.8 back=1.3",
        "trace=flat:200 stuck=0.5",
        "trace=flat:200 newlimit=0.9",
        "trace=flat:200 counter=no instant=no usage=no limit=650",
        "trace=flat:200 mig=2",
        "trace=flat:200 counter=no instant=no",
        "trace=flat:200",
    ];
    let origin = script(&workplace, &devices);
    let output = measure(&workplace, &["--idle", "0.2", "--out", "s", "--", "sleep", "2.5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let shown = show(&workplace, "s");
    let (begun, ended) = run(&workplace, "s", origin);
    let truth = 200.0 * (ended - begun);
    let of = |index: usize| (&shown["gpus"][index], faults(&format!("GPU-{index:08}"), &shown));
    let (gpu, found) = of(0);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!(found, ["counter_reset"]);
    let (gpu, found) = of(1);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!(found, ["counter_jump"]);
    let (gpu, found) = of(2);
    close(&gpu["energy_j"], truth, 0.01);
    close(&gpu["sampled_energy_j"], truth, 0.01);
    assert_eq!(found, ["implausible_power"]);
    let (gpu, found) = of(3);
    close(&gpu["energy_j"], 200.0 * (1.2 - begun), 0.06);
    close(&gpu["mean_w"], 200.0, 0.01);
    assert_eq!(found, ["gpu_lost", "energy_incomplete"]);
    let (gpu, found) = of(4);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!(found, ["reading_failed", "reading_returned"]);
    let (gpu, found) = of(5);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!(found, ["counter_stuck"]);
    let (gpu, found) = of(6);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!(found, ["limit_changed"]);
    let (gpu, found) = of(7);
    close(&gpu["energy_j"], 650.0 * (ended - begun), 0.01);
    assert_eq!((gpu["energy_basis"].as_str(), found), (Some("tdp"), vec!["energy_not_measured".to_string()]));
    let (gpu, found) = of(8);
    close(&gpu["energy_j"], truth, 0.01);
    close(&gpu["instances"][0]["share"], 3.0 / 7.0, 1e-9);
    assert_eq!((gpu["instances"].as_array().unwrap().len(), found), (2, vec!["divided_device".to_string()]));
    let (gpu, found) = of(9);
    close(&gpu["energy_j"], truth, 0.01);
    assert_eq!((gpu["energy_basis"].as_str(), found.len()), (Some("samples"), 0));
    assert_eq!(of(10).1, Vec::<String>::new());
}

#[test]
fn phases_and_steps_are_what_the_program_marked() {
    let workplace = Workplace::new();
    let origin = script(&workplace, &["trace=wave:100,300,0.8,0.4", "trace=flat:50"]);
    // Steps of 50 ms by their stamps.
    let program = "mark() { echo \"$@\" >> $LOWCARB_MARKS; }\n\
         for epoch in 1 2; do\n\
         \x20 begun=$(date +%s.%N); mark begin train unix=$begun; sleep 0.55\n\
         \x20 for step in 1 2 3 4 5 6 7 8 9 10; do\n\
         \x20   mark step unix=$(echo $begun $step | awk '{printf \"%.6f\", $1 + 0.05 * $2}') samples=4 tokens=512\n\
         \x20 done\n\
         \x20 for word in end:train begin:save; do mark ${word%:*} ${word#*:} unix=$(date +%s.%N); done; sleep 0.1; mark end save unix=$(date +%s.%N)\n\
         done\n\
         mark what is this\n";
    measure(&workplace, &["--idle", "0.2", "--out", "s", "--", "sh", "-c", program]).assert().success();
    let shown = show(&workplace, "s");
    let phases = &shown["gpus"][0]["phases"];
    assert_eq!(phases.as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect::<Vec<_>>(), ["train", "save"]);
    assert_eq!((phases[0]["count"].as_u64(), phases[1]["count"].as_u64()), (Some(2), Some(2)));
    close(&phases[1]["duration_s"], 0.2, 0.2);
    close(&shown["gpus"][1]["phases"][1]["energy_j"], 50.0 * phases[1]["duration_s"].as_f64().unwrap(), 0.02);
    let steps = &shown["steps"][0];
    assert_eq!((steps["phase"].as_str(), steps["count"].as_u64()), (Some("train"), Some(20)));
    close(&steps["median_s"], 0.05, 0.01);
    close(&steps["mean_s"], 0.05, 0.01);
    close(&steps["tokens_per_s"], 512.0 / 0.05, 0.01);
    let per_step = steps["energy_j"].as_f64().unwrap();
    close(&steps["energy_j_per_token"], per_step / 512.0, 1e-9);
    let codes: Vec<&str> = shown["faults"].as_array().unwrap().iter().map(|fault| fault["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["mark_not_read"]);
    // The whole of a run is its phases and what is between them.
    let (begun, ended) = run(&workplace, "s", origin);
    close(&shown["gpus"][1]["energy_j"], 50.0 * (ended - begun), 0.001);
}

#[test]
fn devices_are_chosen_by_index_by_identity_and_as_cuda_shows_them() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100", "trace=flat:200", "trace=flat:300"]);
    let uuids = |arguments: &[&str], visible: Option<&str>, name: &str| {
        let mut all = vec!["--idle", "0", "--out", name];
        all.extend(arguments);
        all.extend(["--", "true"]);
        let mut command = measure(&workplace, &all);
        match visible {
            Some(value) => command.env("CUDA_VISIBLE_DEVICES", value),
            None => command.env_remove("CUDA_VISIBLE_DEVICES"),
        };
        command.assert().success();
        let shown = show(&workplace, name);
        shown["gpus"].as_array().unwrap().iter().map(|gpu| gpu["uuid"].as_str().unwrap()[4..12].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(uuids(&[], None, "a"), ["00000000", "00000001", "00000002"]);
    assert_eq!(uuids(&["--gpu", "2,0"], None, "b"), ["00000000", "00000002"]);
    assert_eq!(uuids(&["--gpu", "GPU-00000001-0000-0000-0000-000000000000"], Some("0"), "c"), ["00000001"]);
    assert_eq!(uuids(&[], Some("1,2"), "d"), ["00000001", "00000002"]);
    assert_eq!(uuids(&[], Some("GPU-00000002"), "e"), ["00000002"]);
    assert_eq!(uuids(&[], Some(""), "f"), Vec::<String>::new());
    let output = measure(&workplace, &["--gpu", "7", "--out", "g", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("\"7\" is no GPU of this machine; known: 0 (GPU-00000000"), "{}", talk(&output));
    assert!(!workplace.path("g").exists());
}

#[test]
fn a_machine_without_devices_is_measured_and_what_is_missing_is_said() {
    let workplace = Workplace::new();
    let output = workplace.run(&["measure", "--powercap", "/nonexistent", "--idle", "0", "--out", "s", "--", "sleep", "0.2"]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let shown = show(&workplace, "s");
    assert_eq!((shown["state"].as_str(), shown["gpus"].as_array().map(Vec::len)), (Some("complete"), Some(0)));
    assert!(shown["missing"].to_string().contains("libnvidia-ml.so.1"), "{}", shown["missing"]);
    close(&shown["duration_s"], 0.2, 0.5);
}

#[test]
fn wrong_usage_runs_nothing_and_leaves_nothing() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    workplace.write("file", "text");
    let not_nvml = std::env::current_exe().unwrap();
    for (arguments, said) in [
        (&["--out", "s"] as &[&str], "nothing to measure"),
        (&["--out", "s", "--", "no-such-command-anywhere"], "no such command"),
        (&["--out", "file", "--", "touch", "ran"], "file: "),
        (&["--out", "s", "--interval", "0", "--", "touch", "ran"], "a number from 1 to"),
        (&["--out", "s", "--nvml-lib", "nowhere.so", "--", "touch", "ran"], "nowhere.so cannot be loaded"),
        (&["--out", "s", "--nvml-lib", not_nvml.to_str().unwrap(), "--", "touch", "ran"], "--nvml-lib"),
        (&["--out", "s", "--grid", "Atlantis", "--", "touch", "ran"], "unknown grid"),
        (&["--out", "s", "--pid", "1", "--", "touch", "ran"], "cannot be used with"),
    ] {
        let mut all = vec!["measure", "--powercap", "/nonexistent", "--idle", "0"];
        all.extend(arguments);
        let output = workplace.run(&all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", talk(&output));
        assert!(talk(&output).contains(said), "{arguments:?}: {}", talk(&output));
        assert!(!workplace.path("s").exists() && !workplace.path("ran").exists(), "{arguments:?}");
    }
    // A session is never written over.
    measure(&workplace, &["--idle", "0", "--out", "s", "--", "true"]).assert().success();
    let before = std::fs::read(workplace.path("s/samples.csv")).unwrap();
    let output = measure(&workplace, &["--idle", "0", "--out", "s", "--", "touch", "ran"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("allowed: a folder without one"), "{}", talk(&output));
    assert_eq!(std::fs::read(workplace.path("s/samples.csv")).unwrap(), before);
}

#[test]
fn steps_without_stamps_are_seen_when_they_happen() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let program = "for step in $(seq 30); do sleep 0.04; echo step >> $LOWCARB_MARKS; date +%s.%N >> truth; done";
    measure(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", program]).assert().success();
    let truth: Vec<f64> = std::fs::read_to_string(workplace.path("truth")).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let mut times: Vec<f64> = truth.windows(2).map(|pair| pair[1] - pair[0]).collect();
    times.sort_by(f64::total_cmp);
    let shown = show(&workplace, "s");
    let steps = &shown["steps"][0];
    assert_eq!((steps["phase"].as_str(), steps["count"].as_u64()), (Some("run"), Some(30)));
    close(&steps["median_s"], times[times.len() / 2], 0.05);
}

#[test]
fn processors_are_measured_by_their_counters_and_nothing_is_counted_twice() {
    let workplace = Workplace::new();
    let zone = |folder: &str, name: &str, microjoules: &str| {
        workplace.write(&format!("powercap/{folder}/name"), format!("{name}\n"));
        workplace.write(&format!("powercap/{folder}/energy_uj"), format!("{microjoules}\n"));
        workplace.write(&format!("powercap/{folder}/max_energy_range_uj"), "1000000000\n");
    };
    zone("intel-rapl:0", "package-0", "990000000");
    zone("intel-rapl:0/intel-rapl:0:0", "core", "100");
    zone("intel-rapl:0/intel-rapl:0:1", "dram", "500");
    zone("intel-rapl:1", "psys", "7");
    // The package draws 40 J across the end of its range, memory 6 J, cores 30 J inside the package.
    let program = "cd powercap; sleep 0.4; \
         echo 10000000 > intel-rapl:0/energy_uj; echo 999999 > intel-rapl:0/intel-rapl:0:0/energy_uj; \
         echo 3000500 > intel-rapl:0/intel-rapl:0:1/energy_uj; sleep 0.4; echo 30000000 > intel-rapl:0/energy_uj; \
         echo 30000100 > intel-rapl:0/intel-rapl:0:0/energy_uj; echo 6000500 > intel-rapl:0/intel-rapl:0:1/energy_uj; sleep 0.3";
    let output = workplace.run(&["measure", "--powercap", "powercap", "--idle", "0", "--out", "s", "--", "sh", "-c", program]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let shown = show(&workplace, "s");
    let host = &shown["host"];
    close(&host["energy_j"], 46.0, 0.001);
    close(&shown["energy_j"], 46.0, 0.001);
    let domains: Vec<(&str, bool)> = host["domains"]
        .as_array()
        .unwrap()
        .iter()
        .map(|domain| (domain["name"].as_str().unwrap(), domain["added"].as_bool().unwrap()))
        .collect();
    assert_eq!(domains, [("package-0", true), ("package-0/dram", true), ("package-0/core", false), ("psys", false)]);
    assert!(host["modelled_processors_j"].is_null() && host["modelled_memory_j"].is_null());
    assert!(shown["missing"].as_array().unwrap().iter().all(|text| !text.as_str().unwrap().contains("processors")), "{}", shown["missing"]);
}

#[test]
fn what_of_the_host_has_no_counter_is_modelled_apart() {
    let workplace = Workplace::new();
    let program = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let output = workplace.run(&["measure", "--powercap", "nowhere", "--idle", "0", "--out", "s", "--", "sh", "-c", program]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let shown = show(&workplace, "s");
    assert!(shown["energy_j"].is_null() && shown["host"]["energy_j"].is_null());
    assert!(shown["missing"].to_string().contains("no nowhere"), "{}", shown["missing"]);
    let (cpu, duration) = (shown["host"]["cpu_s"].as_f64().unwrap(), shown["duration_s"].as_f64().unwrap());
    assert!(cpu > 0.02 && cpu <= 1.05 * duration, "{cpu} s of {duration} s");
    // 0.3725 W a GB, whatever this machine has.
    let bytes: f64 = std::fs::read_to_string("/proc/meminfo").unwrap().split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0;
    close(&shown["host"]["modelled_memory_j"], 0.3725 * bytes / f64::from(1 << 30) * duration, 0.001);
}

#[test]
fn what_changes_slowly_is_read_and_drawn() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=wave:100,300,0.5,0.2 gpm=yes limit=500", "trace=flat:50"]);
    let program = "echo begin train >> $LOWCARB_MARKS; sleep 2.5; echo end train >> $LOWCARB_MARKS";
    measure(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", program]).assert().success();
    let gpu = &show(&workplace, "s")["gpus"][0];
    close(&gpu["peak_memory_bytes"], 9.0 * f64::from(1 << 30), 1e-9);
    close(&gpu["mean_utilization_percent"], 90.0, 1e-9);
    close(&gpu["mean_sm_mhz"], 1755.0, 1e-9);
    close(&gpu["peak_temperature_c"], 55.0, 1e-9);
    close(&gpu["throttled_percent"]["software_power_cap"], 100.0, 1e-9);
    // Of GPU performance monitoring: multiprocessors, tensor cores, memory; traffic in MiB/s.
    let readings = workplace.printed(&["session", "export", "s", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(readings.as_bytes());
    let head = rows.headers().unwrap().clone();
    let column = |name: &str| head.iter().position(|column| column == name).unwrap();
    let monitored = rows.records().map(Result::unwrap).find(|row| !row[column("sm_active_percent")].is_empty()).unwrap();
    let value = |name: &str| monitored[column(name)].parse::<f64>().unwrap();
    assert_eq!((value("sm_active_percent"), value("tensor_active_percent"), value("dram_active_percent")), (2.0, 5.0, 10.0));
    assert_eq!(value("pcie_sent_bytes_per_s"), 20.0 * f64::from(1 << 20));
    let picture = workplace.printed(&["session", "export", "s", "--format", "svg"]);
    assert!(picture.starts_with("<svg") && picture.contains("train") && picture.contains("Fake H100 GPU-00000001"), "{picture}");
}

#[test]
fn numbers_that_cuda_may_mean_otherwise_are_named() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100 name=Fake_H100", "trace=flat:200 name=Fake_T4"]);
    let codes = |name: &str, variables: &[(&str, &str)]| {
        let mut command = measure(&workplace, &["--idle", "0", "--out", name, "--", "true"]);
        command.envs(variables.iter().copied()).assert().success();
        show(&workplace, name)["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["code"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(codes("a", &[("CUDA_VISIBLE_DEVICES", "1")]), ["device_order"]);
    assert_eq!(codes("d", &[("CUDA_VISIBLE_DEVICES", "GPU-00000001")]), Vec::<String>::new());
    assert_eq!(codes("b", &[("CUDA_VISIBLE_DEVICES", "0,1")]), ["device_order"]);
    assert_eq!(codes("c", &[("CUDA_VISIBLE_DEVICES", "0,1"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]), Vec::<String>::new());
}
