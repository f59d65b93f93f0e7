//! BGPFilters by family.

use std::collections::BTreeMap;

use pipit_bgp::Family;

use super::context::Context;
use crate::model::FilterRules;

/// Every BGPFilter that exists in a family and has a rule for it, used or not.
pub(super) fn filters(context: &Context<'_>, family: Family) -> BTreeMap<String, FilterRules> {
    context
        .cache
        .filters()
        .filter_map(|(name, filter)| {
            let rules = filter.rules[family].as_ref()?;
            (!rules.is_empty()).then(|| (name.clone(), rules.clone()))
        })
        .collect()
}
