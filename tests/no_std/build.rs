//! Links the C library, which std would otherwise have brought: it holds the start-up code's `exit`, and the allocator.

fn main() {
    println!("cargo::rustc-link-arg-bins=-lc");
    println!("cargo::rerun-if-changed=build.rs");
}
