//! partita
fn main() {}
