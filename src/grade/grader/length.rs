use crate::config::{Block, ConfigError};

use super::{Graded, Grader, GraderKind};

pub const KIND: GraderKind = GraderKind { name: "length", reads: &["of", "min", "max"], metric: "length", prepare: |block| Ok(Box::new(Length::of(block)?)) };

/// Right is what is so long; without bounds the length itself.
#[derive(Debug)]
struct Length {
    of: Unit,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Words,
    Characters,
    Lines,
}

impl Length {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let of = match block.find_text("of") {
            Some("characters") => Unit::Characters,
            Some("lines") => Unit::Lines,
            _ => Unit::Words,
        };
        let (min, max) = (block.find_number("min"), block.find_number("max"));
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(ConfigError::Contradiction {
                problem: format!("nothing is at least {min} and at most {max}"),
                label: "can never be met".into(),
                at: block.span_of("min").into(),
                help: "`min=` must not be above `max=`".into(),
            });
        }
        Ok(Self { of, min, max })
    }
}

impl Grader for Length {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let length = super::super::statistics::count(match self.of {
            Unit::Words => graded.answer.split_whitespace().count(),
            Unit::Characters => graded.answer.trim().chars().count(),
            Unit::Lines => graded.answer.trim().lines().count(),
        });
        if !self.is_yes_or_no() {
            return length;
        }
        f64::from(u8::from(self.min.is_none_or(|min| length >= min) && self.max.is_none_or(|max| length <= max)))
    }

    fn is_yes_or_no(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    fn is_share(&self) -> bool {
        self.is_yes_or_no()
    }

    fn wants(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_held_within_bounds_or_told() {
        let graded = Graded::new("", "three short words\n");
        let length = |of, min, max| Length { of, min, max }.score(graded);
        assert!((length(Unit::Words, None, None) - 3.0).abs() < 1e-12 && (length(Unit::Characters, None, None) - 17.0).abs() < 1e-12);
        assert!(length(Unit::Words, Some(1.0), Some(3.0)) > 0.5 && length(Unit::Words, None, Some(2.0)) < 0.5);
    }
}
