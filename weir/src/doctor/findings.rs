//! What was found, and how bad it is.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Ok,
    /// Worth knowing.
    Note,
    /// It works, and less well than it could.
    Warning,
    /// It does not work, or must not be trusted.
    Problem,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: &'static str,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    pub(super) fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.findings.push(Finding { severity: Severity::Ok, what, found: found.into(), remedy: None });
    }

    pub(super) fn say(
        &mut self,
        severity: Severity,
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into());
        self.findings.push(Finding { severity, what, found: found.into(), remedy });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    pub(super) fn worst(&self) -> Severity {
        self.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }
}
