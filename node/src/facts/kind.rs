//! Whether this machine is a virtual one. The decision is pure; the reading is beside it.

use std::fs;

use fairway_api::placement::NodeKind;

/// Where firmware says who made the machine.
const DMI: &str = "/sys/class/dmi/id";
/// What hypervisors write there.
const VIRTUAL_MAKERS: [&str; 18] = [
    "QEMU",
    "KVM",
    "VMware",
    "VirtualBox",
    "innotek GmbH",
    "Xen",
    "Bochs",
    "Parallels",
    "BHYVE",
    "Hyper-V",
    "Virtual Machine",
    "Amazon EC2",
    "Google Compute Engine",
    "OpenStack",
    "DigitalOcean",
    "Hetzner",
    "Apple Virtualization",
    "Firecracker",
];
/// What a machine of a maker of hypervisors is called when it is none: clouds rent out whole ones.
const REAL_MODELS: [&str; 2] = [".metal", "Bare Metal"];

/// What of a machine tells whether it is virtual.
#[derive(Debug, Default, PartialEq, Eq)]
struct Signs {
    /// Maker, product, board and firmware, as far as they can be read.
    dmi: Vec<String>,
    /// The processor says that a hypervisor runs below.
    hypervisor_flag: bool,
    /// Xen, IBM and others say so in `/sys/hypervisor/type`.
    hypervisor: Option<String>,
    /// Machines without DMI (ARM) have a device tree, and a virtual one's says so.
    device_tree: Option<String>,
}

/// What this machine is.
pub(super) fn detect() -> NodeKind {
    decide(&read())
}

fn read() -> Signs {
    let text = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim_matches(['\0', '\n', ' ']).to_owned())
    };
    let dmi = ["sys_vendor", "product_name", "board_vendor", "bios_vendor"];
    let processors = text("/proc/cpuinfo").unwrap_or_default();
    let mut flags = processors
        .lines()
        .filter(|line| line.starts_with("flags") || line.starts_with("Features"));
    Signs {
        dmi: dmi
            .iter()
            .filter_map(|name| text(&format!("{DMI}/{name}")))
            .collect(),
        hypervisor_flag: flags.any(|line| line.split_whitespace().any(|it| it == "hypervisor")),
        hypervisor: text("/sys/hypervisor/type"),
        device_tree: text("/proc/device-tree/hypervisor/compatible"),
    }
}

fn decide(signs: &Signs) -> NodeKind {
    let has = |words: &[&str]| {
        let mut dmi = signs.dmi.iter();
        dmi.any(|text| words.iter().any(|word| text.contains(word)))
    };
    if has(&REAL_MODELS) {
        return NodeKind::BareMetal;
    }
    let virtual_machine = signs.hypervisor_flag
        || signs.hypervisor.as_ref().is_some_and(|it| !it.is_empty())
        || signs.device_tree.is_some()
        || has(&VIRTUAL_MAKERS);
    if virtual_machine {
        NodeKind::Vm
    } else {
        NodeKind::BareMetal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart_by_what_they_say() {
        let dmi = |words: &[&str]| Signs {
            dmi: words.iter().map(|&it| it.to_owned()).collect(),
            ..Signs::default()
        };
        let flagged = |signs: Signs| Signs {
            hypervisor_flag: true,
            ..signs
        };
        let table = [
            (dmi(&[]), NodeKind::BareMetal),
            (dmi(&["Dell Inc.", "PowerEdge R640"]), NodeKind::BareMetal),
            (
                dmi(&["QEMU", "Standard PC (Q35 + ICH9, 2009)"]),
                NodeKind::Vm,
            ),
            (
                dmi(&["Microsoft Corporation", "Virtual Machine"]),
                NodeKind::Vm,
            ),
            (
                dmi(&["Microsoft Corporation", "Surface Pro"]),
                NodeKind::BareMetal,
            ),
            (flagged(dmi(&["Unknown"])), NodeKind::Vm),
            (dmi(&["Amazon EC2", "m5.large"]), NodeKind::Vm),
            (dmi(&["Amazon EC2", "m5.metal"]), NodeKind::BareMetal),
            (
                Signs {
                    hypervisor: Some("xen".into()),
                    ..Signs::default()
                },
                NodeKind::Vm,
            ),
            (
                Signs {
                    device_tree: Some("linux,kvm".into()),
                    ..Signs::default()
                },
                NodeKind::Vm,
            ),
        ];
        for (signs, kind) in table {
            assert_eq!(decide(&signs), kind, "{signs:?}");
        }
    }
}
