mod common;
use common::model;
use lowcarb::arch::Batch;
#[test]
fn scratch() {
    let cases = [
        ("Transformer", "", [0.85, 2.65, 5.51, 9.48]),
        (
            "Linformer",
            "attention.kind = \"linformer\"\nattention.linformer = { projected_length = 16, sharing = \"key_value\" }",
            [0.37, 0.55, 0.99, 0.99],
        ),
        (
            "Local",
            "attention.kind = \"local\"\nattention.local = { window = 50, look_backward = 0, look_forward = 0 }",
            [0.42, 0.76, 1.06, 1.37],
        ),
        (
            "Reformer",
            "attention.kind = \"reformer\"\nattention.reformer = { chunks = 10, buckets = [10], output_projection = false }",
            [0.48, 0.99, 1.53, 2.28],
        ),
        (
            "Sinkhorn",
            "embedding.class_token = false\nattention.kind = \"sinkhorn\"\nattention.sinkhorn = { block = 50, iterations = 0, sort_net = \"keys\", sorting = \"row_sums\", separate = true, blocks = 25 }",
            [0.47, 0.83, 1.13, 1.48],
        ),
        (
            "Synth a",
            "attention.kind = \"synthesizer\"\nattention.synthesizer = { kind = \"random\", dot_product = true }",
            [0.65, 1.98, 4.09, 6.99],
        ),
        ("Synth b", "attention.kind = \"synthesizer\"\nattention.synthesizer = { kind = \"random\", rank = 32 }", [0.65, 1.98, 4.09, 6.99]),
    ];
    for (name, settings, published) in cases {
        let model = match model(&format!("use = \"lra-text-transformer\"\nfeed_forward.activation = \"gelu_new\"\n{settings}")) {
            Ok(m) => m,
            Err(e) => {
                println!("{name}: {e}");
                continue;
            }
        };
        for (i, n) in [1000.0, 2000.0, 3000.0, 4000.0].into_iter().enumerate() {
            let ledger = match model.ledger(Batch { sequences: 2.0, length: n, element_bytes: 4.0 }) {
                Ok(l) => l,
                Err(e) => {
                    println!("{name}: {e:?}");
                    break;
                }
            };
            let p = 28.0 * ledger.parameters();
            let peak = ledger.peak_bytes(lowcarb::ledger::Rerun::Nothing);
            let kept = ledger.kept_bytes();
            let t = (p + peak) / 1e9;
            println!(
                "{name} {n} params {:.3} kept {:.3} peak {:.3} total {:.3} published {} {:+.0} %",
                p / 1e9,
                kept / 1e9,
                peak / 1e9,
                t,
                published[i],
                100.0 * (t / published[i] - 1.0)
            );
        }
    }
}
