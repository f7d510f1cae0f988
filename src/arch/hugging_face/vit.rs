//! Vision transformers (`modeling_vit.py`).

use super::config::Import;
use super::head::{Task, labels, task};
use crate::document::Diagnostic;

/// ViT (Dosovitskiy et al. 2021): patches of an image and a class token, from which a classification is made.
pub(super) fn vit(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let [height, width] = pair(import, "image_size", 224)?;
    let [rows, columns] = pair(import, "patch_size", 16)?;
    if rows > height || columns > width {
        return Err(import.wrong("patch_size", format!("at most the image, {height} x {width}")));
    }
    import.put("embedding.kind", "patches");
    import.set("embedding.patches.image", import.whole(&[height, width]), "image_size");
    import.set("embedding.patches.size", import.whole(&[rows, columns]), "patch_size");
    import.set("embedding.patches.channels", import.size("num_channels", 3)?, "num_channels");
    import.put("embedding.class_token", true);
    import.put("embedding.positions.kind", "learned");
    import.put("embedding.positions.length", (height / rows) * (width / columns) + 1);
    import.set("width", import.size("hidden_size", 768)?, "hidden_size");
    import.set("dropout", import.rate("hidden_dropout_prob", 0.0)?, "hidden_dropout_prob");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size("num_attention_heads", 12)?, "num_attention_heads");
    import.set("attention.bias", import.flag("qkv_bias", true)?, "qkv_bias");
    import.put("attention.output_bias", true);
    let key = "attention_probs_dropout_prob";
    import.set("attention.dropout", import.rate(key, 0.0)?, key);
    import.implementation()?;
    import.set("feed_forward.width", import.size("intermediate_size", 3072)?, "intermediate_size");
    import.set("feed_forward.activation", import.activation("hidden_act", "gelu")?, "hidden_act");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "pre");
    import.set("encoder.layers", import.size("num_hidden_layers", 12)?, "num_hidden_layers");
    match task(import, &[Task::Image, Task::Model])? {
        Task::Image => {
            import.put("head.kind", "classification");
            import.put("head.pooling", "first_as_is");
            import.put("head.dropout", 0.0);
            import.put("head.classes", labels(import)?);
        }
        _ => import.put("head.kind", "pooler"),
    }
    Ok(())
}

/// Height and width: one number for both, or two.
fn pair(import: &Import<'_>, key: &str, default: u64) -> Result<[u64; 2], Diagnostic> {
    if !import.says(key) || import.single(key) {
        return import.size(key, default).map(|size| [size, size]);
    }
    match import.sizes(key, &[])?.as_slice() {
        [height, width] if *height > 0 && *width > 0 => Ok([*height, *width]),
        _ => Err(import.wrong(key, "one size, or height and width")),
    }
}
