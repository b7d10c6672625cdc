//! What can go wrong between two nodes.

use common::error::SqlError;
use common::ids::WorkerId;
use common::sqlstate::SqlState;

/// An error of the connection between two nodes; errors of the called node itself arrive as [`common::error::Report`].
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The call may or may not have been carried out.
    #[error("connection to {peer} failed: {cause}")]
    ConnectionLost { peer: String, cause: String },
    /// The call never left this node.
    #[error("connection to {peer} failed: {cause}")]
    NotConnected { peer: String, cause: String },
    #[error("worker {0} is not known")]
    UnknownWorker(WorkerId),
    #[error("address \"{address}\" of {peer} is not valid: {cause}")]
    BadAddress { peer: String, address: String, cause: String },
    #[error("this node is no {0}")]
    NotServed(&'static str),
    #[error("the node is shutting down")]
    Stopping,
    #[error("message of {bytes} bytes between nodes is too large")]
    TooLarge { bytes: usize, max: usize },
    #[error("could not encode a message between nodes: {0}")]
    Encode(String),
    #[error("could not decode a message between nodes: {0}")]
    Decode(String),
    #[error("a plan of this process cannot be sent to {peer}")]
    LocalPlan { peer: String },
    #[error("could not serve calls of other nodes: {0}")]
    Serve(String),
}

impl SqlError for RpcError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::ConnectionLost { .. }
            | Self::NotConnected { .. }
            | Self::UnknownWorker(_)
            | Self::BadAddress { .. }
            | Self::NotServed(_) => SqlState::CONNECTION_FAILURE,
            Self::Stopping => SqlState::ADMIN_SHUTDOWN,
            Self::TooLarge { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
            Self::Decode(_) => SqlState::PROTOCOL_VIOLATION,
            Self::Encode(_) | Self::LocalPlan { .. } => SqlState::INTERNAL_ERROR,
            Self::Serve(_) => SqlState::IO_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::TooLarge { max, .. } => Some(format!("The limit is {max} bytes.")),
            _ => None,
        }
    }

    fn retryable(&self) -> bool {
        matches!(self, Self::NotConnected { .. })
    }
}

impl From<RpcError> for common::error::Report {
    fn from(error: RpcError) -> Self {
        error.report()
    }
}
