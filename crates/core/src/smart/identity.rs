//! Identity of a drive, and the labels that describe it.

use serde_json::Value;

use super::fields::{number, rows, text, text_at};
use crate::drive_name;
use crate::wire::Labels;

/// Model, serial number and world-wide name of a drive, and its description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriveIdentity {
    /// Model; of SCSI drives the product without the vendor, as the kernel has it.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide name, such as `0x5000c500a1b2c3d4` or `eui.…`.
    pub wwn: Option<String>,
    /// Further labels: `firmware`, `model_family`, `capacity_bytes`, `rotational`, `smart_type`.
    pub labels: Labels,
}

impl DriveIdentity {
    pub(super) fn of(document: &Value) -> Self {
        let model = ["/scsi_product", "/product", "/model_name", "/scsi_model_name"];
        let model = model.iter().find_map(|pointer| text_at(document, pointer));
        let wwn = naa(document).or_else(|| eui(document)).or_else(|| {
            let unit = text_at(document, "/logical_unit_id")?;
            unit.starts_with("0x").then(|| unit.to_ascii_lowercase())
        });
        let rotation = document.pointer("/rotation_rate").and_then(number);
        let is_nvme = document.pointer("/device/protocol").and_then(Value::as_str) == Some("NVMe");
        let rotational = rotation.map(|rate| rate > 0.0).or(is_nvme.then_some(false));
        let capacity = ["/user_capacity/bytes", "/nvme_total_capacity"];
        let capacity = capacity.iter().find_map(|pointer| document.pointer(pointer)?.as_u64());
        let firmware = ["/firmware_version", "/scsi_revision", "/revision"];
        let known = [
            ("firmware", firmware.iter().find_map(|pointer| text_at(document, pointer))),
            ("model_family", text_at(document, "/model_family")),
            ("capacity_bytes", capacity.map(|bytes| bytes.to_string())),
            ("rotational", rotational.map(|rotational| rotational.to_string())),
            ("smart_type", text_at(document, "/device/type")),
        ];
        let labels = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        Self { model, serial: document.get("serial_number").and_then(text), wwn, labels }
    }

    /// Returns the name of the drive, `MODEL_SERIAL`, else `wwn-…`; `None` if neither belongs to one drive only.
    pub fn name(&self) -> Option<String> {
        let serial = self.serial.as_deref().filter(|serial| drive_name::is_serial(serial));
        let by_serial = serial.map(|serial| {
            let parts: Vec<_> = [self.model.as_deref(), Some(serial)].into_iter().flatten().collect();
            parts.iter().map(|part| drive_name::udev_name(part)).collect::<Vec<_>>().join("_")
        });
        let wwn = self.wwn.as_deref().filter(|wwn| drive_name::is_wwn(wwn));
        by_serial.or_else(|| wwn.map(|wwn| format!("wwn-{}", drive_name::udev_name(wwn))))
    }
}

/// Returns the world-wide name of an ATA drive: 4, 24 and 36 bits.
fn naa(document: &Value) -> Option<String> {
    let part =
        |name: &str, bits: u32| document.pointer(&format!("/wwn/{name}"))?.as_u64().filter(|part| part >> bits == 0);
    Some(format!("0x{:x}{:06x}{:09x}", part("naa", 4)?, part("oui", 24)?, part("id", 36)?))
}

/// Returns the identifier of the first namespace of an NVMe drive: 24 and 40 bits.
fn eui(document: &Value) -> Option<String> {
    let namespace = rows(document, "/nvme_namespaces").next()?;
    let part =
        |name: &str, bits: u32| namespace.pointer(&format!("/eui64/{name}"))?.as_u64().filter(|part| part >> bits == 0);
    Some(format!("eui.{:06x}{:010x}", part("oui", 24)?, part("ext_id", 40)?))
}
