//! Places for boxes in columns, with few crossings: ranks by the longest way, an order in each column by the mean place of the
//! neighbours (Sugiyama, Tagawa and Toda 1981), and heights that are as near to the neighbours as the space between boxes allows.

use super::Sketch;

/// The height of a box, and the space to the next one.
pub const HEIGHT: f64 = 38.0;
const GAP: f64 = 14.0;
/// What a line that passes through a column takes.
const THREAD: f64 = 10.0;
/// The space between columns.
const AISLE: f64 = 56.0;
/// The width of a sign of the title.
const SIGN: f64 = 7.3;
const PAD: f64 = 20.0;
/// How often the columns are sorted; further rounds change little.
const ROUNDS: usize = 12;
/// A picture with more lines than this is sorted less often.
const MANY: usize = 4000;

/// Where the boxes and lines of a picture are.
#[derive(Debug)]
pub struct Placed {
    /// Left, middle and width of each box.
    pub boxes: Vec<(f64, f64, f64)>,
    /// The points of each line, from the box that is needed to the one that needs it.
    pub lines: Vec<Vec<(f64, f64)>>,
    pub width: f64,
    pub height: f64,
}

/// A box, or the place where a line passes through a column.
struct Spot {
    column: usize,
    /// The box; none for a line that passes.
    of: Option<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
    height: f64,
    middle: f64,
}

pub fn place(boxes: &[Sketch]) -> Placed {
    let ranks = ranks(boxes);
    let count = ranks.iter().max().map_or(0, |last| last + 1);
    let spot = |column, of, height| Spot { column, of, before: Vec::new(), after: Vec::new(), height, middle: 0.0 };
    let mut spots: Vec<Spot> = ranks.iter().enumerate().map(|(index, &rank)| spot(rank, Some(index), HEIGHT + GAP)).collect();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for (user, sketch) in boxes.iter().enumerate() {
        for &need in &sketch.needs {
            let mut way = vec![need];
            for column in ranks[need] + 1..ranks[user] {
                spots.push(spot(column, None, THREAD));
                way.push(spots.len() - 1);
            }
            way.push(user);
            for pair in way.windows(2) {
                spots[pair[0]].after.push(pair[1]);
                spots[pair[1]].before.push(pair[0]);
            }
            ways.push(way);
        }
    }
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, spot) in spots.iter().enumerate() {
        columns[spot.column].push(index);
    }
    sort(&mut columns, &spots);
    settle(&columns, &mut spots);
    let wide = |index: usize| PAD + SIGN * f64::from(u32::try_from(boxes[index].title.chars().count().max(boxes[index].note.chars().count())).unwrap_or(0));
    let widths: Vec<f64> = columns.iter().map(|column| column.iter().filter_map(|&spot| spots[spot].of).map(wide).fold(0.0, f64::max)).collect();
    let mut left = vec![0.0];
    for width in &widths {
        left.push(left[left.len() - 1] + width + AISLE);
    }
    let top = spots.iter().map(|spot| spot.middle - spot.height / 2.0).reduce(f64::min).unwrap_or_default();
    let bottom = spots.iter().map(|spot| spot.middle + spot.height / 2.0).reduce(f64::max).unwrap_or_default();
    let point = |spot: usize, at_end: bool| {
        let width = spots[spot].of.map_or(widths[spots[spot].column], wide);
        (left[spots[spot].column] + if at_end { width } else { 0.0 }, spots[spot].middle - top)
    };
    let line = |way: &Vec<usize>| {
        let (last, inner) = (way.len() - 1, &way[1..way.len() - 1]);
        let through = inner.iter().flat_map(|&spot| [point(spot, false), point(spot, true)]);
        std::iter::once(point(way[0], true)).chain(through).chain([point(way[last], false)]).collect()
    };
    Placed {
        boxes: (0..boxes.len()).map(|index| (left[ranks[index]], spots[index].middle - top, wide(index))).collect(),
        lines: ways.iter().map(line).collect(),
        width: (left[count] - AISLE).max(0.0),
        height: bottom - top,
    }
}

/// By box: the length of the longest way to it.
fn ranks(boxes: &[Sketch]) -> Vec<usize> {
    let mut users = vec![Vec::new(); boxes.len()];
    let mut waits: Vec<usize> = boxes.iter().map(|sketch| sketch.needs.len()).collect();
    for (user, sketch) in boxes.iter().enumerate() {
        sketch.needs.iter().for_each(|&need| users[need].push(user));
    }
    let mut ranks = vec![0; boxes.len()];
    let mut open: Vec<usize> = (0..boxes.len()).filter(|&index| waits[index] == 0).collect();
    while let Some(index) = open.pop() {
        for &user in &users[index] {
            ranks[user] = ranks[user].max(ranks[index] + 1);
            waits[user] -= 1;
            if waits[user] == 0 {
                open.push(user);
            }
        }
    }
    ranks
}

/// Sorts each column by the mean place of the neighbours, there and back, and keeps the order with the fewest crossings.
fn sort(columns: &mut Vec<Vec<usize>>, spots: &[Spot]) {
    let rounds = if spots.len() > MANY { 2 } else { ROUNDS };
    let mut places = vec![0.0; spots.len()];
    let number = |columns: &[Vec<usize>], places: &mut Vec<f64>| {
        for column in columns {
            for (place, &spot) in column.iter().enumerate() {
                places[spot] = f64::from(u32::try_from(place).unwrap_or(u32::MAX));
            }
        }
    };
    number(columns, &mut places);
    let mut best = (crossings(columns, spots, &places), columns.clone());
    for round in 0..rounds {
        let forward = round % 2 == 0;
        let order: Vec<usize> = if forward { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
        for column in order {
            let mean = |spot: usize| {
                let near = if forward { &spots[spot].before } else { &spots[spot].after };
                let sum: f64 = near.iter().map(|&other| places[other]).sum();
                if near.is_empty() { places[spot] } else { sum / f64::from(u32::try_from(near.len()).unwrap_or(u32::MAX)) }
            };
            let mut sorted: Vec<(f64, usize)> = columns[column].iter().map(|&spot| (mean(spot), spot)).collect();
            sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
            columns[column] = sorted.into_iter().map(|(_, spot)| spot).collect();
            number(&columns[column..=column], &mut places);
        }
        let found = crossings(columns, spots, &places);
        if found < best.0 {
            best = (found, columns.clone());
        }
    }
    *columns = best.1;
}

/// How many pairs of lines cross between neighbouring columns: the pairs that stand in another order at their ends.
fn crossings(columns: &[Vec<usize>], spots: &[Spot], places: &[f64]) -> usize {
    let mut count = 0;
    for column in columns {
        let mut ends: Vec<f64> = Vec::new();
        for &spot in column {
            let mut after: Vec<f64> = spots[spot].after.iter().map(|&other| places[other]).collect();
            after.sort_by(f64::total_cmp);
            for end in &after {
                count += ends.len() - ends.partition_point(|known| known <= end);
            }
            for end in after {
                ends.insert(ends.partition_point(|known| *known <= end), end);
            }
        }
    }
    count
}

/// Gives each spot a height: as near to its neighbours as the order and the space between allow.
fn settle(columns: &[Vec<usize>], spots: &mut [Spot]) {
    for column in columns {
        let mut at = 0.0;
        for &spot in column {
            spots[spot].middle = at + spots[spot].height / 2.0;
            at += spots[spot].height;
        }
    }
    for round in 0..ROUNDS {
        let forward = round % 2 == 0;
        let order: Vec<usize> = if forward { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
        for column in order {
            let wanted = |spot: usize| {
                let near = if forward { &spots[spot].before } else { &spots[spot].after };
                let sum: f64 = near.iter().map(|&other| spots[other].middle).sum();
                if near.is_empty() { spots[spot].middle } else { sum / f64::from(u32::try_from(near.len()).unwrap_or(u32::MAX)) }
            };
            let wanted: Vec<f64> = columns[column].iter().map(|&spot| wanted(spot)).collect();
            let heights: Vec<f64> = columns[column].iter().map(|&spot| spots[spot].height).collect();
            for (&spot, middle) in columns[column].iter().zip(spread(&wanted, &heights)) {
                spots[spot].middle = middle;
            }
        }
    }
}

/// The middles in the same order with enough space between them that are nearest to those that are wanted, by least squares:
/// neighbours that are too near become a block, which stands at its mean (pool adjacent violators).
fn spread(wanted: &[f64], heights: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(wanted.len());
    let mut at = 0.0;
    for (index, height) in heights.iter().enumerate() {
        if index > 0 {
            at += (heights[index - 1] + height) / 2.0;
        }
        offsets.push(at);
    }
    // Blocks: the sum of where its members would have it stand, and how many they are.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(&offsets) {
        blocks.push((wanted - offset, 1));
        while let [.., (before, many), (last, more)] = blocks[..] {
            #[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^52")]
            if before / many as f64 <= last / more as f64 {
                break;
            }
            blocks.truncate(blocks.len() - 2);
            blocks.push((before + last, many + more));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^52")]
    let starts = blocks.into_iter().flat_map(|(sum, many)| std::iter::repeat_n(sum / many as f64, many));
    starts.zip(offsets).map(|(start, offset)| start + offset).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Tone;
    use super::*;

    fn boxes(needs: &[&[usize]]) -> Vec<Sketch> {
        needs.iter().map(|needs| Sketch { title: "a stage".into(), note: "train".into(), tone: Tone::Plain, needs: needs.to_vec() }).collect()
    }

    #[test]
    fn what_is_needed_stands_to_the_left() {
        let placed = place(&boxes(&[&[], &[0], &[0, 1], &[2, 0]]));
        let left: Vec<f64> = placed.boxes.iter().map(|(left, ..)| *left).collect();
        assert!(left[0] < left[1] && left[1] < left[2] && left[2] < left[3], "{left:?}");
        assert_eq!(placed.lines.len(), 5);
    }

    #[test]
    fn a_ladder_is_drawn_without_crossings() {
        // Two chains that were declared alternately and against each other.
        let placed = place(&boxes(&[&[], &[], &[1], &[0], &[3], &[2]]));
        let middle = |index: usize| placed.boxes[index].1;
        assert!((middle(0) < middle(1)) == (middle(3) < middle(2)) && (middle(3) < middle(2)) == (middle(4) < middle(5)));
    }

    proptest! {
        #[test]
        fn no_boxes_overlap(seeds in proptest::collection::vec(proptest::collection::vec(0_usize..1000, 0..4), 1..60)) {
            let needs: Vec<Vec<usize>> = seeds.iter().enumerate().map(|(index, seeds)| {
                let mut needs: Vec<usize> = if index == 0 { Vec::new() } else { seeds.iter().map(|seed| seed % index).collect() };
                needs.sort_unstable();
                needs.dedup();
                needs
            }).collect();
            let needs: Vec<&[usize]> = needs.iter().map(Vec::as_slice).collect();
            let placed = place(&boxes(&needs));
            for (index, one) in placed.boxes.iter().enumerate() {
                prop_assert!(one.0 >= 0.0 && one.0 + one.2 <= placed.width + 0.01 && one.1 >= 0.0 && one.1 <= placed.height);
                for other in &placed.boxes[index + 1..] {
                    prop_assert!((one.0 - other.0).abs() > 1.0 || (one.1 - other.1).abs() > HEIGHT, "{one:?} {other:?}");
                }
            }
        }
    }
}
