//! stub
use crate::config::RoleCredential;
#[derive(Debug, Default)]
pub(crate) struct Logins;
#[derive(Debug)]
pub(crate) struct Roles;
impl Roles {
    pub(crate) fn new(_: &[RoleCredential]) -> Self {
        Self
    }
}
