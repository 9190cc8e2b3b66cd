#![allow(clippy::disallowed_methods, reason = "a build script reads the files it lists")]
//! Lists the schema files, current and past, so that the codec embeds every version it may have to read.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../schemas/avro");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed={}", root.join("history").display());
    let list = |dir: &Path| -> io::Result<String> {
        let mut paths: Vec<_> =
            fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "avsc"));
        paths.sort();
        let line = |path: &Path| {
            format!("    ({:?}, include_str!({:?})),\n", path.file_stem().unwrap_or_default(), path)
        };
        Ok(paths.iter().map(|path| line(path)).collect())
    };
    let text = format!(
        "const CURRENT: &[(&str, &str)] = &[\n{}];\nconst HISTORY: &[(&str, &str)] = &[\n{}];\n",
        list(&root)?,
        list(&root.join("history"))?
    );
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("schemas.rs"), text)
}
