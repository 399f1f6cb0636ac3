//! Just enough of Kubernetes quantities to compare a claim's request with its volume's capacity.

/// The value of a quantity in thousandths, or none for a form that storage sizes do not use.
pub(crate) fn thousandths(quantity: &str) -> Option<u128> {
    let digits = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at_checked(digits)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let unit = unit(suffix)?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_add(
        fraction
            .parse::<u128>()
            .ok()?
            .checked_mul(unit)?
            .checked_div(scale)?,
    )
}

fn unit(suffix: &str) -> Option<u128> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    let power = |base: u128, at: usize| {
        base.checked_pow(u32::try_from(at).ok()? + 1)?
            .checked_mul(1000)
    };
    match suffix {
        "m" => Some(1),
        "" => Some(1000),
        _ => match (
            BINARY.iter().position(|s| *s == suffix),
            DECIMAL.iter().position(|s| *s == suffix),
        ) {
            (Some(at), _) => power(1024, at),
            (None, Some(at)) => power(1000, at),
            (None, None) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn compares_sizes_written_in_different_units() {
        assert_eq!(thousandths("1Gi"), thousandths("1024Mi"));
        assert_eq!(thousandths("1.5Gi"), thousandths("1536Mi"));
        assert_eq!(thousandths("1000M"), thousandths("1G"));
        assert!(thousandths("1Gi") > thousandths("1G"));
        assert_eq!(thousandths("5"), Some(5000));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for odd in ["", "Gi", "1e3", "1Zi", "-1", "1.0000000000Gi"] {
            assert_eq!(thousandths(odd), None, "{odd}");
        }
    }
}
