// files OPERATION FILE [FILE]: Rust's std::fs.
use std::fs;
use std::io::{Error, Read, Write};

fn work(op: &str, file: &str, other: &str) -> Result<(), Error> {
    match op {
        "rename" => fs::rename(file, other),
        "unlink" => fs::remove_file(file),
        "mkdir" => fs::create_dir(file),
        "stat" => fs::metadata(file).map(|_| ()),
        "truncate" => fs::OpenOptions::new().write(true).open(file)?.set_len(1),
        "readdir" => {
            for entry in fs::read_dir(file)? {
                entry?;
            }
            Ok(())
        }
        "command" => {
            let status = std::process::Command::new("bash").args(["-c", file]).env_clear().status()?;
            std::process::exit(status.code().unwrap_or(99));
        }
        "copy" => fs::copy(file, other).map(|_| ()),
        "read" => {
            let mut text = String::new();
            fs::File::open(file)?.read_to_string(&mut text).map(|_| ())
        }
        _ => {
            let mut out = fs::File::create(file)?;
            out.write_all(b"hello\n")?;
            if op == "fsync" {
                out.sync_all()?;
            }
            Ok(())
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let other = args.get(3).map(String::as_str).unwrap_or("");
    if let Err(error) = work(&args[1], &args[2], other) {
        println!("{} failed: {}", args[1], error);
        std::process::exit(1);
    }
}
