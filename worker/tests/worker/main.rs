//! A worker over real storage and a real catalog, called as coordinators and other workers call it.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod cluster;
mod feed;
mod indexes;
mod statements;
mod transactions;
