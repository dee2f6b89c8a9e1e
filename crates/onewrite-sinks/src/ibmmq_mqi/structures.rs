//! IBM's structures with the values that its own initialisers give them, in versions that every client since IBM MQ 8.0 knows: a
//! library refuses a version that is newer than itself.

use std::ffi::{CStr, c_char};
use std::mem::zeroed;

use libmqm_sys::{
    MQ_EXIT_DATA_LENGTH, MQ_EXIT_NAME_LENGTH, MQCCSI_APPL, MQCD, MQCD_LENGTH_9, MQCD_VERSION_9, MQCHARV,
    MQCHT_CLNTCONN, MQCMHO, MQCMHO_STRUC_ID, MQCNO, MQCNO_STRUC_ID, MQCNO_VERSION_5, MQCOPY_DEFAULT, MQCSP,
    MQCSP_STRUC_ID, MQDMHO, MQDMHO_STRUC_ID, MQEI_UNLIMITED, MQENC_NATIVE, MQLONG, MQMD, MQMD_STRUC_ID, MQMD_VERSION_2,
    MQMT_DATAGRAM, MQOD, MQOD_STRUC_ID, MQOD_VERSION_4, MQOL_UNDEFINED, MQPD, MQPD_STRUC_ID, MQPD_SUPPORT_OPTIONAL,
    MQPMO, MQPMO_STRUC_ID, MQPMO_VERSION_3, MQPRI_PRIORITY_AS_Q_DEF, MQSCO, MQSCO_STRUC_ID, MQSMPO, MQSMPO_STRUC_ID,
    MQXPT_TCP,
};

/// UTF-8, as a coded character set of IBM.
pub(super) const UTF8: MQLONG = 1_208;

/// The largest message that any queue manager takes, in bytes: the channel agrees on the smaller of both sides' limits.
const CHANNEL_MESSAGE_BYTES: MQLONG = 104_857_600;

/// One of IBM's structures.
///
/// # Safety
/// It is made of numbers, characters and pointers alone, of which zero is a value.
unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident),*) => { $(
        // SAFETY: IBM's headers declare nothing else in it.
        unsafe impl Plain for $name {}
    )* };
}

plain!(
    MQCD, MQCHARV, MQCMHO, MQCNO, MQCSP, MQDMHO, MQMD, MQOD, MQPD, MQPMO, MQSCO, MQSMPO
);

fn empty<T: Plain>() -> T {
    // SAFETY: what the trait asks for.
    unsafe { zeroed() }
}

/// The four characters by which a structure is known.
fn struc_id(id: &CStr) -> [c_char; 4] {
    let mut field = [0; 4];
    fill(&mut field, id.to_bytes());
    field
}

/// Writes a text into a field; what is left of the field is filled with zero bytes, which end a text there.
pub(super) fn fill(field: &mut [c_char], text: &[u8]) {
    field.fill(0);
    for (place, byte) in field.iter_mut().zip(text) {
        *place = byte.cast_signed() as c_char;
    }
}

/// A text that is somewhere else; it must outlive what is returned.
pub(super) fn text(text: &str) -> MQCHARV {
    MQCHARV {
        VSPtr: text.as_ptr().cast_mut().cast(),
        VSLength: length(text.len()),
        VSCCSID: UTF8,
        ..no_text()
    }
}

/// A length as IBM has it. Everything that is sent is far below the limit, which the settings see to.
pub(super) fn length(bytes: usize) -> MQLONG {
    MQLONG::try_from(bytes).unwrap_or(MQLONG::MAX)
}

fn no_text() -> MQCHARV {
    MQCHARV {
        VSCCSID: MQCCSI_APPL,
        ..empty()
    }
}

/// The definition of a client channel.
pub(super) fn channel() -> MQCD {
    let mut channel = MQCD {
        Version: MQCD_VERSION_9,
        StrucLength: length(MQCD_LENGTH_9),
        ChannelType: MQCHT_CLNTCONN,
        TransportType: MQXPT_TCP,
        ExitNameLength: length(MQ_EXIT_NAME_LENGTH),
        ExitDataLength: length(MQ_EXIT_DATA_LENGTH),
        MaxMsgLength: CHANNEL_MESSAGE_BYTES,
        // In seconds; the larger of both sides' is taken.
        HeartbeatInterval: 1,
        // As the channel's heartbeat says.
        KeepAliveInterval: -1,
        // A connection has its socket to itself, so that one that hangs holds up no other.
        SharingConversations: 1,
        // The client that put it together is preferred: nothing else is in the list.
        ConnectionAffinity: 1,
        ..empty()
    };
    // No compression, and the rest of the lists unused.
    channel.HdrCompList = [0, -1];
    channel.MsgCompList = [-1; 16];
    channel.MsgCompList[0] = 0;
    channel
}

/// Options of connecting.
pub(super) fn connecting() -> MQCNO {
    MQCNO {
        StrucId: struc_id(MQCNO_STRUC_ID),
        Version: MQCNO_VERSION_5,
        ..empty()
    }
}

/// Who connects.
pub(super) fn credentials() -> MQCSP {
    MQCSP {
        StrucId: struc_id(MQCSP_STRUC_ID),
        Version: 1,
        ..empty()
    }
}

/// Where keys and certificates are.
pub(super) fn security() -> MQSCO {
    MQSCO {
        StrucId: struc_id(MQSCO_STRUC_ID),
        Version: 1,
        ..empty()
    }
}

/// What is opened.
pub(super) fn object() -> MQOD {
    MQOD {
        StrucId: struc_id(MQOD_STRUC_ID),
        Version: MQOD_VERSION_4,
        ObjectString: no_text(),
        SelectionString: no_text(),
        ResObjectString: no_text(),
        ..empty()
    }
}

/// The descriptor of a message.
pub(super) fn descriptor() -> MQMD {
    let mut descriptor = MQMD {
        StrucId: struc_id(MQMD_STRUC_ID),
        Version: MQMD_VERSION_2,
        MsgType: MQMT_DATAGRAM,
        Expiry: MQEI_UNLIMITED,
        Encoding: MQENC_NATIVE,
        CodedCharSetId: UTF8,
        Priority: MQPRI_PRIORITY_AS_Q_DEF,
        MsgSeqNumber: 1,
        OriginalLength: MQOL_UNDEFINED,
        ..empty()
    };
    fill(&mut descriptor.Format, b"        ");
    descriptor
}

/// Options of putting.
pub(super) fn putting() -> MQPMO {
    MQPMO {
        StrucId: struc_id(MQPMO_STRUC_ID),
        Version: MQPMO_VERSION_3,
        Timeout: -1,
        // Every subscriber of a topic gets it.
        PubLevel: 9,
        ..empty()
    }
}

/// Options of making a handle for properties.
pub(super) fn making_handle() -> MQCMHO {
    MQCMHO {
        StrucId: struc_id(MQCMHO_STRUC_ID),
        Version: 1,
        ..empty()
    }
}

/// Options of deleting such a handle.
pub(super) fn deleting_handle() -> MQDMHO {
    MQDMHO {
        StrucId: struc_id(MQDMHO_STRUC_ID),
        Version: 1,
        ..empty()
    }
}

/// Options of setting a property.
pub(super) fn setting_property() -> MQSMPO {
    MQSMPO {
        StrucId: struc_id(MQSMPO_STRUC_ID),
        Version: 1,
        ValueEncoding: MQENC_NATIVE,
        ValueCCSID: UTF8,
        ..empty()
    }
}

/// The descriptor of a property.
pub(super) fn property() -> MQPD {
    MQPD {
        StrucId: struc_id(MQPD_STRUC_ID),
        Version: 1,
        Support: MQPD_SUPPORT_OPTIONAL,
        CopyOptions: MQCOPY_DEFAULT,
        ..empty()
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// The lengths that IBM's headers give for programs of 64 bits, up to the last field of the version.
    #[test]
    fn structures_are_as_long_as_ibm_says() {
        assert_eq!(offset_of!(MQCNO, CCDTUrlPtr), 200, "MQCNO_LENGTH_5");
        let end = offset_of!(MQCD, BatchDataLimit).next_multiple_of(align_of::<MQCD>());
        assert_eq!(end, 1_912, "MQCD_LENGTH_9, whose end is padded");
        assert_eq!(offset_of!(MQCSP, Reserved3), 56, "MQCSP_LENGTH_1");
        assert_eq!(offset_of!(MQSCO, KeyResetCount), 536, "MQSCO_LENGTH_1");
        assert_eq!(size_of::<MQOD>(), 424, "MQOD_LENGTH_4");
        assert_eq!(size_of::<MQMD>(), 364, "MQMD_LENGTH_2");
        assert_eq!(size_of::<MQPMO>(), 184, "MQPMO_LENGTH_3");
        assert_eq!(size_of::<MQCHARV>(), 24);
        assert_eq!(
            (size_of::<MQCMHO>(), size_of::<MQDMHO>(), size_of::<MQSMPO>()),
            (12, 12, 20)
        );
        assert_eq!(size_of::<MQPD>(), 24, "MQPD_LENGTH_1");
    }
}
