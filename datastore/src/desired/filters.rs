//! BGPFilters by family.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipit_bgp::{Family, FamilyMap};

use crate::cache::Cache;
use crate::model::FilterRules;

/// Those of both families. They change seldom and are large, so a planner keeps them from one plan to the next.
pub(super) type Filters = FamilyMap<Arc<BTreeMap<String, FilterRules>>>;

pub(super) fn filters(cache: &Cache) -> Filters {
    FamilyMap {
        ipv4: Arc::new(of_family(cache, Family::Ipv4Unicast)),
        ipv6: Arc::new(of_family(cache, Family::Ipv6Unicast)),
    }
}

/// Every BGPFilter that exists in a family and has a rule for it, used or not.
fn of_family(cache: &Cache, family: Family) -> BTreeMap<String, FilterRules> {
    cache
        .filters()
        .filter_map(|(name, filter)| {
            let rules = filter.rules[family].as_ref()?;
            (!rules.is_empty()).then(|| (name.clone(), rules.clone()))
        })
        .collect()
}
