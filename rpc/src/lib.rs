//! The only contract between nodes.
//!
//! - [`worker_api`]: what a worker does for coordinators and other workers ([`worker_api::WorkerApi`]).
//! - [`catalog_api`]: what the catalog does for everybody ([`catalog_api::CatalogApi`]).
//! - [`grpc`]: both over the network (client and server). Inside one process a node is called directly, without a copy.
//!
//! A coordinator finds a worker through [`directory::WorkerDirectory`]: it gives the in-process object where there is one, otherwise a
//! client over a pooled connection.
//!
//! Errors cross as [`common::error::Report`], so that a worker's code, detail and hint survive the trip.

pub mod catalog_api;
pub mod directory;
pub mod error;
pub mod grpc;
pub mod locks;
pub mod worker_api;
