//! A worker over real storage and a real catalog, called as coordinators and other workers call it.

mod cluster;
mod feed;
mod indexes;
mod statements;
mod transactions;
