//! Compiles the protocol description without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/pairgate.proto");
    let files = protox::compile(["pairgate.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug(["."])
        .compile_fds(files)?;
    Ok(())
}
