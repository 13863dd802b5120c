//! An order of a file's nodes in which each comes after those that it reads from.

/// Sorts nodes, which read from the nodes that `sources` gives by their places. Nodes that are in order stay so; those on
/// a cycle come in any order.
pub(super) fn sort<T>(nodes: Vec<T>, sources: impl Fn(&T) -> Vec<usize>) -> Vec<T> {
    let sources: Vec<Vec<usize>> = nodes.iter().map(sources).collect();
    if sources.iter().enumerate().all(|(place, sources)| sources.iter().all(|&source| source < place)) {
        return nodes;
    }
    let mut order = Vec::with_capacity(nodes.len());
    let mut seen = vec![false; nodes.len()];
    // Depth first with a stack of our own: the depth of a file's graph is not bounded by that of the call stack.
    let mut stack = Vec::new();
    for root in 0..nodes.len() {
        if !std::mem::replace(&mut seen[root], true) {
            stack.push((root, 0));
        }
        while let Some((node, next)) = stack.last_mut() {
            let Some(&source) = sources[*node].get(*next) else {
                order.push(*node);
                stack.pop();
                continue;
            };
            *next += 1;
            if !std::mem::replace(&mut seen[source], true) {
                stack.push((source, 0));
            }
        }
    }
    let mut nodes: Vec<Option<T>> = nodes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| nodes[place].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::sort;

    #[test]
    fn sources_come_first_and_cycles_end() {
        let sources = |&node: &usize| match node {
            0 => vec![2],
            2 => vec![1, 3],
            4 => vec![5],
            5 => vec![4],
            _ => vec![],
        };
        assert_eq!(sort((0..6).collect(), sources), [1, 3, 2, 0, 5, 4]);
    }
}
