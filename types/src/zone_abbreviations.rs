//! The time zone abbreviations that PostgreSQL knows by default (its `timezone_abbreviations = 'Default'`).
//!
//! Invariant: sorted by name, so that it can be searched by halving; a test checks it.

/// What an abbreviation stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// Seconds east of Greenwich, and whether it is daylight-saving time.
    Offset(i32, bool),
    /// Whatever it means in that zone at the time in question.
    Zone(&'static str),
}

use Meaning::{Offset, Zone};

/// Looks an abbreviation up, in any case.
pub(crate) fn find(name: &str) -> Option<Meaning> {
    let upper = name.to_ascii_uppercase();
    ABBREVIATIONS.binary_search_by(|row| row.0.cmp(&upper)).ok().map(|at| ABBREVIATIONS[at].1)
}

/// The abbreviation as the table spells it.
pub(crate) fn name(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    ABBREVIATIONS.binary_search_by(|row| row.0.cmp(&upper)).ok().map(|at| ABBREVIATIONS[at].0)
}

#[rustfmt::skip]
const ABBREVIATIONS: &[(&str, Meaning)] = &[
    ("ACDT", Offset(37_800, true)),
    ("ACSST", Offset(37_800, true)),
    ("ACST", Offset(34_200, false)),
    ("ACT", Offset(-18_000, false)),
    ("ACWST", Offset(31_500, false)),
    ("ADT", Offset(-10_800, true)),
    ("AEDT", Offset(39_600, true)),
    ("AESST", Offset(39_600, true)),
    ("AEST", Offset(36_000, false)),
    ("AFT", Offset(16_200, false)),
    ("AKDT", Offset(-28_800, true)),
    ("AKST", Offset(-32_400, false)),
    ("ALMST", Offset(25_200, true)),
    ("ALMT", Offset(21_600, false)),
    ("AMST", Zone("Asia/Yerevan")),
    ("AMT", Offset(-14_400, false)),
    ("ANAST", Zone("Asia/Anadyr")),
    ("ANAT", Zone("Asia/Anadyr")),
    ("ARST", Zone("America/Argentina/Buenos_Aires")),
    ("ART", Zone("America/Argentina/Buenos_Aires")),
    ("AST", Offset(-14_400, false)),
    ("AWSST", Offset(32_400, true)),
    ("AWST", Offset(28_800, false)),
    ("AZOST", Offset(0, true)),
    ("AZOT", Offset(-3_600, false)),
    ("AZST", Zone("Asia/Baku")),
    ("AZT", Zone("Asia/Baku")),
    ("BDST", Offset(7_200, true)),
    ("BDT", Offset(21_600, false)),
    ("BNT", Offset(28_800, false)),
    ("BORT", Offset(28_800, false)),
    ("BOT", Offset(-14_400, false)),
    ("BRA", Offset(-10_800, false)),
    ("BRST", Offset(-7_200, true)),
    ("BRT", Offset(-10_800, false)),
    ("BST", Offset(3_600, true)),
    ("BTT", Offset(21_600, false)),
    ("CADT", Offset(37_800, true)),
    ("CAST", Offset(34_200, false)),
    ("CCT", Offset(28_800, false)),
    ("CDT", Offset(-18_000, true)),
    ("CEST", Offset(7_200, true)),
    ("CET", Offset(3_600, false)),
    ("CETDST", Offset(7_200, true)),
    ("CHADT", Offset(49_500, true)),
    ("CHAST", Offset(45_900, false)),
    ("CHUT", Offset(36_000, false)),
    ("CKT", Zone("Pacific/Rarotonga")),
    ("CLST", Offset(-10_800, true)),
    ("CLT", Zone("America/Santiago")),
    ("COT", Offset(-18_000, false)),
    ("CST", Offset(-21_600, false)),
    ("CXT", Offset(25_200, false)),
    ("DAVT", Zone("Antarctica/Davis")),
    ("DDUT", Offset(36_000, false)),
    ("EASST", Zone("Pacific/Easter")),
    ("EAST", Zone("Pacific/Easter")),
    ("EAT", Offset(10_800, false)),
    ("EDT", Offset(-14_400, true)),
    ("EEST", Offset(10_800, true)),
    ("EET", Offset(7_200, false)),
    ("EETDST", Offset(10_800, true)),
    ("EGST", Offset(0, true)),
    ("EGT", Offset(-3_600, false)),
    ("EST", Offset(-18_000, false)),
    ("FET", Offset(10_800, false)),
    ("FJST", Offset(46_800, true)),
    ("FJT", Offset(43_200, false)),
    ("FKST", Zone("Atlantic/Stanley")),
    ("FKT", Zone("Atlantic/Stanley")),
    ("FNST", Offset(-3_600, true)),
    ("FNT", Offset(-7_200, false)),
    ("GALT", Offset(-21_600, false)),
    ("GAMT", Offset(-32_400, false)),
    ("GEST", Zone("Asia/Tbilisi")),
    ("GET", Zone("Asia/Tbilisi")),
    ("GFT", Offset(-10_800, false)),
    ("GILT", Offset(43_200, false)),
    ("GMT", Offset(0, false)),
    ("GYT", Zone("America/Guyana")),
    ("HKT", Offset(28_800, false)),
    ("HST", Offset(-36_000, false)),
    ("ICT", Offset(25_200, false)),
    ("IDT", Offset(10_800, true)),
    ("IOT", Zone("Indian/Chagos")),
    ("IRKST", Zone("Asia/Irkutsk")),
    ("IRKT", Zone("Asia/Irkutsk")),
    ("IRT", Offset(12_600, false)),
    ("IST", Offset(7_200, false)),
    ("JAYT", Offset(32_400, false)),
    ("JST", Offset(32_400, false)),
    ("KDT", Offset(36_000, true)),
    ("KGST", Offset(21_600, true)),
    ("KGT", Zone("Asia/Bishkek")),
    ("KOST", Zone("Pacific/Kosrae")),
    ("KRAST", Zone("Asia/Krasnoyarsk")),
    ("KRAT", Zone("Asia/Krasnoyarsk")),
    ("KST", Offset(32_400, false)),
    ("LHDT", Zone("Australia/Lord_Howe")),
    ("LHST", Offset(37_800, false)),
    ("LIGT", Offset(36_000, false)),
    ("LINT", Zone("Pacific/Kiritimati")),
    ("LKT", Zone("Asia/Colombo")),
    ("MAGST", Zone("Asia/Magadan")),
    ("MAGT", Zone("Asia/Magadan")),
    ("MART", Offset(-34_200, false)),
    ("MAWT", Zone("Antarctica/Mawson")),
    ("MDT", Offset(-21_600, true)),
    ("MEST", Offset(7_200, true)),
    ("MESZ", Offset(7_200, true)),
    ("MET", Offset(3_600, false)),
    ("METDST", Offset(7_200, true)),
    ("MEZ", Offset(3_600, false)),
    ("MHT", Offset(43_200, false)),
    ("MMT", Offset(23_400, false)),
    ("MPT", Offset(36_000, false)),
    ("MSD", Offset(14_400, true)),
    ("MSK", Zone("Europe/Moscow")),
    ("MST", Offset(-25_200, false)),
    ("MUST", Offset(18_000, true)),
    ("MUT", Offset(14_400, false)),
    ("MVT", Offset(18_000, false)),
    ("MYT", Offset(28_800, false)),
    ("NDT", Offset(-9_000, true)),
    ("NFT", Offset(-12_600, false)),
    ("NOVST", Zone("Asia/Novosibirsk")),
    ("NOVT", Zone("Asia/Novosibirsk")),
    ("NPT", Offset(20_700, false)),
    ("NST", Offset(-12_600, false)),
    ("NUT", Zone("Pacific/Niue")),
    ("NZDT", Offset(46_800, true)),
    ("NZST", Offset(43_200, false)),
    ("NZT", Offset(43_200, false)),
    ("OMSST", Zone("Asia/Omsk")),
    ("OMST", Zone("Asia/Omsk")),
    ("PDT", Offset(-25_200, true)),
    ("PET", Offset(-18_000, false)),
    ("PETST", Zone("Asia/Kamchatka")),
    ("PETT", Zone("Asia/Kamchatka")),
    ("PGT", Offset(36_000, false)),
    ("PHT", Offset(28_800, false)),
    ("PKST", Offset(21_600, true)),
    ("PKT", Offset(18_000, false)),
    ("PMDT", Offset(-7_200, true)),
    ("PMST", Offset(-10_800, false)),
    ("PONT", Offset(39_600, false)),
    ("PST", Offset(-28_800, false)),
    ("PWT", Offset(32_400, false)),
    ("PYST", Offset(-10_800, true)),
    ("PYT", Zone("America/Asuncion")),
    ("RET", Offset(14_400, false)),
    ("SADT", Offset(37_800, true)),
    ("SAST", Offset(7_200, false)),
    ("SCT", Offset(14_400, false)),
    ("SGT", Zone("Asia/Singapore")),
    ("TAHT", Offset(-36_000, false)),
    ("TFT", Offset(18_000, false)),
    ("TJT", Offset(18_000, false)),
    ("TKT", Zone("Pacific/Fakaofo")),
    ("TMT", Zone("Asia/Ashgabat")),
    ("TOT", Offset(46_800, false)),
    ("TRUT", Offset(36_000, false)),
    ("TVT", Offset(43_200, false)),
    ("UCT", Offset(0, false)),
    ("ULAST", Offset(32_400, true)),
    ("ULAT", Zone("Asia/Ulaanbaatar")),
    ("UT", Offset(0, false)),
    ("UTC", Offset(0, false)),
    ("UYST", Offset(-7_200, true)),
    ("UYT", Offset(-10_800, false)),
    ("UZST", Offset(21_600, true)),
    ("UZT", Offset(18_000, false)),
    ("VET", Zone("America/Caracas")),
    ("VLAST", Zone("Asia/Vladivostok")),
    ("VLAT", Zone("Asia/Vladivostok")),
    ("VOLT", Zone("Europe/Volgograd")),
    ("VUT", Offset(39_600, false)),
    ("WADT", Offset(28_800, true)),
    ("WAKT", Offset(43_200, false)),
    ("WAST", Offset(25_200, false)),
    ("WAT", Offset(3_600, false)),
    ("WDT", Offset(32_400, true)),
    ("WET", Offset(0, false)),
    ("WETDST", Offset(3_600, true)),
    ("WFT", Offset(43_200, false)),
    ("WGST", Offset(-7_200, true)),
    ("WGT", Offset(-10_800, false)),
    ("XJT", Offset(21_600, false)),
    ("YAKST", Zone("Asia/Yakutsk")),
    ("YAKT", Zone("Asia/Yakutsk")),
    ("YAPT", Offset(36_000, false)),
    ("YEKST", Offset(21_600, true)),
    ("YEKT", Zone("Asia/Yekaterinburg")),
    ("Z", Offset(0, false)),
    ("ZULU", Offset(0, false)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(ABBREVIATIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(find("pst"), Some(Offset(-28_800, false)));
        assert_eq!(find("xyz"), None);
    }

    #[test]
    fn zones_that_it_names_exist() {
        for (_, meaning) in ABBREVIATIONS {
            if let Zone(name) = meaning {
                assert!(crate::zone::named(name).is_some(), "{name}");
            }
        }
    }
}
