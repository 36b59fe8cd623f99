//! The store: one contract, held by every implementation, and what only a file can go through.

mod batch_updates;
mod child_process;
mod claims;
mod consents;
mod fixtures;
mod grant_cache;
mod keys;
mod lists;
mod model;
mod people;
mod restored_backups;
mod sqlite_faults;
mod sqlite_files;
mod sqlite_open_errors;
mod sqlite_secrets;

/// Runs each named function of `$suite` on both stores.
macro_rules! on_both_stores {
    ($($suite:ident: $($promise:ident),+ $(,)?;)+) => {
        mod memory {$(
            mod $suite {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let store = std::sync::Arc::new(webex_tokend::store::memory::MemoryStore::new());
                    crate::store::$suite::$promise(store).await;
                }
            )+}
        )+}

        mod sqlite {$(
            mod $suite {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let home = crate::store::fixtures::Home::new();
                    crate::store::$suite::$promise(std::sync::Arc::new(home.open())).await;
                }
            )+}
        )+}
    };
}

on_both_stores! {
    consents:
        a_first_consent_is_new_and_the_next_replaces_it,
        a_consent_keeps_every_field,
        a_consent_voids_a_running_claim,
        a_consent_after_a_lease_has_ended_wins_too,
        of_two_consents_the_one_obtained_later_stays,
        nobody_is_found_who_was_not_kept,
        latest_only_grows,
        the_census_counts_persons_and_those_in_need,
        a_note_is_kept_until_the_next,
        notes_of_different_names_are_kept_apart,
        an_open_store_can_be_read;
    claims:
        the_least_life_left_is_claimed_first_and_dead_tokens_last,
        equal_lives_are_claimed_in_order_of_arrival,
        whether_a_token_lives_is_judged_by_the_time_of_each_claim,
        the_order_holds_over_many_claims_whatever_comes_between,
        a_probe_takes_those_with_the_fewest_failures_first,
        those_whom_the_asker_is_still_at_work_on_are_left_out,
        nothing_is_claimed_before_it_is_due,
        a_clock_set_back_hides_nobody_who_is_due_and_brings_nobody_forward,
        a_claimed_grant_is_kept_from_others_until_its_lease_ends,
        a_claim_given_back_leaves_the_grant_as_it_was,
        a_claim_of_nobody_answers_nothing,
        a_claim_shows_the_grant_as_it_stood,
        one_person_is_claimed_due_or_not,
        one_person_is_not_claimed_before_a_lease_has_ended,
        a_commit_long_after_its_lease_has_ended_counts,
        a_commit_keeps_every_field_but_the_person,
        a_commit_counts_once,
        a_commit_needs_a_claim,
        a_late_commit_of_an_older_attempt_changes_nothing,
        a_fence_that_differs_in_any_part_changes_nothing,
        many_tasks_never_hold_one_grant_twice,
        of_many_commits_of_one_claim_one_is_kept,
        settling_ends_no_claim_but_bounds_its_lease,
        settling_makes_nothing_later_and_leaves_alone_who_is_not_claimed;
    people:
        an_address_leads_to_all_who_have_it_the_living_first,
        only_ascii_letters_of_an_address_are_folded,
        a_person_is_updated_unless_a_consent_came_between,
        a_grant_that_does_as_much_stays_when_another_is_imported,
        the_list_is_in_order_of_arrival_and_goes_on_at_its_cursor,
        the_list_is_narrowed_by_state_and_by_person,
        whom_the_store_forgets_is_gone,
        a_commit_after_a_removal_changes_nothing,
        a_number_is_never_given_twice;
    lists:
        every_list_and_number_is_what_the_domain_says,
        a_search_finds_the_start_of_an_address_or_of_any_word_of_a_name,
        a_search_follows_the_person,
        few_persons_are_listed_in_every_order;
    keys:
        a_key_is_kept_whole,
        a_name_is_given_once,
        a_revoked_key_is_gone_and_its_name_is_free,
        a_use_is_noted_with_its_key;
    batch_updates:
        the_next_wake_is_the_earliest_of_all,
        a_long_list_is_revised_in_steps,
        a_revision_keeps_only_what_it_says_it_changed,
        a_revision_keeps_every_field_but_the_person,
        a_revision_of_a_claimed_grant_leaves_its_claim,
        a_revision_of_nothing_ends_at_once,
        claims_are_made_between_the_steps_of_a_revision;
}
