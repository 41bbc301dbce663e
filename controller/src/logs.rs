//! Text that is kept in files beside the database: the apps' logs and what builds print.

pub mod app_logs;
pub mod build_output;
pub mod senders;
