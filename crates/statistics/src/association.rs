//! Agreement between raters and association between scores.

use std::collections::BTreeMap;

use crate::{Error, check_lengths, check_values};

/// Agreement of two raters.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Agreement {
    /// Number of rated items.
    pub n: usize,
    /// Share of equal ratings.
    pub observed: f64,
    /// Share expected if the raters were independent.
    pub expected: f64,
    /// Cohen's kappa, (observed − expected) / (1 − expected); absent if both always give the same one rating.
    pub kappa: Option<f64>,
}

/// Cohen's kappa (Cohen 1960) of two raters' labels.
///
/// # Errors
/// If the slices differ in length or are empty.
pub fn cohen_kappa<L: Ord>(first: &[L], second: &[L]) -> Result<Agreement, Error> {
    check_lengths("kappa", first.len(), second.len())?;
    if first.is_empty() {
        return Err(Error::TooFew { what: "kappa", needed: 1, got: 0 });
    }
    let n = first.len() as f64;
    let mut counts: BTreeMap<&L, (f64, f64)> = BTreeMap::new();
    let mut equal = 0.0;
    for (left, right) in first.iter().zip(second) {
        counts.entry(left).or_default().0 += 1.0;
        counts.entry(right).or_default().1 += 1.0;
        equal += f64::from(u8::from(left == right));
    }
    let observed = equal / n;
    let expected = counts.values().map(|(left, right)| left / n * right / n).sum();
    let kappa = (1.0 - expected > 1e-12).then(|| (observed - expected) / (1.0 - expected));
    Ok(Agreement { n: first.len(), observed, expected, kappa })
}

/// Pearson's correlation; `None` if one side does not vary.
///
/// # Errors
/// If the slices differ in length, hold fewer than two values, or one that is not finite.
pub fn pearson(first: &[f64], second: &[f64]) -> Result<Option<f64>, Error> {
    check_lengths("the correlation", first.len(), second.len())?;
    check_values("the correlation", first, 2)?;
    check_values("the correlation", second, 2)?;
    let (center_first, center_second) = (crate::mean(first), crate::mean(second));
    let (mut product, mut squares_first, mut squares_second) = (0.0, 0.0, 0.0);
    for (x, y) in first.iter().zip(second) {
        product += (x - center_first) * (y - center_second);
        squares_first += (x - center_first).powi(2);
        squares_second += (y - center_second).powi(2);
    }
    let scale = (squares_first * squares_second).sqrt();
    Ok((scale > 0.0).then(|| (product / scale).clamp(-1.0, 1.0)))
}

/// Spearman's rank correlation, ties at their mean rank; `None` if one side does not vary.
///
/// # Errors
/// As for [`pearson`].
pub fn spearman(first: &[f64], second: &[f64]) -> Result<Option<f64>, Error> {
    check_lengths("the correlation", first.len(), second.len())?;
    check_values("the correlation", first, 2)?;
    check_values("the correlation", second, 2)?;
    pearson(&ranks(first), &ranks(second))
}

/// Area under the ROC curve: the probability that a positive has a higher score than a negative, ties half;
/// `None` if there are no positives or no negatives.
///
/// # Errors
/// If the slices differ in length or a score is not finite.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Result<Option<f64>, Error> {
    check_lengths("the area under the curve", scores.len(), positive.len())?;
    check_values("the area under the curve", scores, 0)?;
    let positives = positive.iter().filter(|&&is| is).count() as f64;
    let negatives = positive.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return Ok(None);
    }
    let rank_sum: f64 = ranks(scores).iter().zip(positive).filter(|(_, is)| **is).map(|(rank, _)| rank).sum();
    Ok(Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)))
}

/// Ranks from 1, ties at their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        for &index in &order[start..end] {
            ranks[index] = (start + 1 + end) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_of_a_published_table() {
        // 2 × 2 table 20, 5 / 10, 15: observed 0.7, expected 0.5, kappa 0.4.
        let mut first = Vec::new();
        let mut second = Vec::new();
        for (left, right, count) in
            [("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15)]
        {
            first.extend(std::iter::repeat_n(left, count));
            second.extend(std::iter::repeat_n(right, count));
        }
        let agreement = cohen_kappa(&first, &second).unwrap();
        assert!((agreement.observed - 0.7).abs() < 1e-12);
        assert!((agreement.kappa.unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(cohen_kappa(&["a", "a"], &["a", "a"]).unwrap().kappa, None);
        assert!(cohen_kappa::<u8>(&[], &[]).is_err());
    }

    #[test]
    fn correlations_have_known_values() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let y = [2.0, 1.0, 4.0, 3.0, 7.0];
        // Deviations give 12 / √(10 · 21.2) and rank differences 4: 1 − 6·4/(5·24) = 0.8.
        assert!((pearson(&x, &y).unwrap().unwrap() - 12.0 / 212.0_f64.sqrt()).abs() < 1e-12);
        assert!((spearman(&x, &y).unwrap().unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pearson(&x, &[1.0; 5]).unwrap(), None);
        assert!(pearson(&x, &y[..4]).is_err());
    }

    #[test]
    fn area_under_the_curve_counts_ordered_pairs() {
        // Pairs: (0.9, 0.5) and (0.9, 0.4) won, (0.4, 0.5) lost, (0.4, 0.4) tied: 2.5 of 4.
        let area = auroc(&[0.9, 0.4, 0.5, 0.4], &[true, true, false, false]).unwrap();
        assert_eq!(area, Some(0.625));
        assert_eq!(auroc(&[0.9], &[true]).unwrap(), None);
        assert!(auroc(&[f64::NAN, 1.0], &[true, false]).is_err());
    }
}
