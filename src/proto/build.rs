//! Turns `proto/*.proto` into Rust, without a protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let files = [
        "replication.proto",
        "volumegroup.proto",
        "fence.proto",
        "identity.proto",
        "csi.proto",
        "copies.proto",
    ];
    tonic_prost_build::configure().compile_fds(protox::compile(files, [root])?)?;
    Ok(())
}
