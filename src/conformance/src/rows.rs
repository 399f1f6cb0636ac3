//! The rows, by what they are about. The number of a row stands in the name of its test.

pub(crate) mod agents;
pub(crate) mod copies;
pub(crate) mod demote;
pub(crate) mod fence;
pub(crate) mod group;
pub(crate) mod hub;
pub(crate) mod kinds;
pub(crate) mod odd;
pub(crate) mod promote;
pub(crate) mod refuse;
pub(crate) mod release;
pub(crate) mod sick;
pub(crate) mod ungrouped;
pub(crate) mod upstream;
pub(crate) mod weather;

/// Hands the name of each test to a macro, by module.
#[macro_export]
macro_rules! each_row {
    ($then:ident) => {
        $then! {
            promote {
                row_1_a_fresh_primary_is_enabled_promoted_and_asked_about,
                row_2_every_call_carries_handle_parameters_secrets_and_replication_id,
                row_3_and_71_marks_are_stored_before_the_first_call_and_move_no_generation,
                rows_18_to_22_how_promotion_fails,
                row_20_failures_back_off_without_a_storm,
                row_23_a_prerequisite_that_is_met_later_is_said_to_be_met,
                row_24_a_new_generation_of_a_primary_is_only_asked_about,
                row_25_a_restart_repeats_nothing_and_moves_no_condition,
                row_26_a_class_that_vanishes_and_returns_costs_no_call,
                rows_27_to_33_what_a_primary_is_told_about_its_copies,
                rows_29_30_33_what_is_known_is_kept_until_the_driver_knows_more,
                rows_34_and_35_how_often_a_primary_is_asked_about,
                row_61_a_call_that_never_answers_ends_at_its_deadline_and_is_tried_again_alone,
            }
            demote {
                rows_36_to_38_and_44_demoted_then_behind_then_in_step_then_idle,
                row_39_auto_resync_is_force_on_the_wire,
                row_45_a_fresh_secondary_is_enabled_first,
                rows_40_42_43_a_demotion_that_fails_keeps_the_state_and_is_never_forced,
                row_41_a_secondary_that_fails_is_tried_every_15_seconds,
                row_46_resync_by_name,
                row_47_a_primary_cannot_be_resynced,
                row_48_a_secondary_is_promoted_again_and_no_check_goes_on,
                row_49_a_change_of_mind_cuts_every_wait_short,
                row_49_a_wish_that_changes_during_a_call_stops_the_next_one,
            }
            refuse {
                rows_4_to_6_what_a_class_may_say_about_its_secret,
                row_7_a_secret_may_come_late,
                row_8_a_class_may_come_late_whatever_the_role,
                row_9_another_drivers_objects_are_left_alone,
                row_10_a_claim_may_come_and_be_bound_late,
                row_11_a_claim_that_is_going_is_not_taken,
                row_12_odd_volumes_harm_nobody_else,
                row_13_an_unknown_source_is_refused_once,
                rows_14_and_15_a_second_owner_is_refused_and_leaves_without_harm,
                rows_16_and_17_marks_of_a_group_and_of_an_older_version,
                row_54_deletion_without_a_class_says_so_and_goes_on_when_it_returns,
            }
            release {
                rows_50_and_51_deletion_disables_and_takes_every_mark_away,
                row_52_a_driver_that_does_not_let_go_is_asked_again_and_no_condition_moves,
                row_53_a_claim_that_is_deleted_first_waits_for_the_volume_replication,
                row_55_a_claim_that_is_gone_by_force_holds_nobody,
                row_56_a_volume_replication_without_our_finalizer_just_goes,
                row_57_a_crash_between_disable_and_the_marks_disables_again,
                a_hub_managed_volume_deleted_by_hand_stays_on_and_says_so_until_it_is_written_anew,
                a_hub_managed_volume_is_switched_off_on_the_hubs_word,
                the_volume_of_a_cluster_that_was_left_goes_quietly_and_never_off,
            }
            weather {
                row_58_a_driver_may_come_after_the_agent,
                row_58_a_driver_that_says_it_is_not_ready_is_waited_for,
                row_59_a_socket_that_is_lost_for_a_minute_changes_no_state,
                row_59_a_call_that_is_lost_with_the_socket_is_made_again,
                row_60_either_identity_service_will_do,
                row_62_many_events_never_make_two_calls_for_one_handle,
                row_63_a_conflict_or_a_lost_api_server_repeats_no_call,
                row_65_a_second_agent_waits_and_takes_over,
                a_stop_gives_the_lease_up_at_once,
                an_api_server_that_fails_does_not_end_the_agent,
                the_same_script_twice_gives_the_same_calls_at_the_same_times,
            }
            kinds {
                row_64_kinds_may_be_installed_after_the_agent,
                row_64_fences_are_served_where_their_classes_are_not_installed,
                rows_67_to_69_what_the_kinds_refuse,
                row_70_what_kubectl_get_shows,
                kinds_of_an_older_version_are_served_without_what_they_lack,
                row_72_what_a_volume_is_called_at_the_peer_holds_nothing_back,
                row_81_a_driver_that_does_not_replicate_is_said_and_not_called,
            }
            group {
                row_73_three_claims_become_one_group_that_is_promoted_as_one,
                row_73_over_a_unix_socket,
                row_73_marks_are_stored_before_the_first_call_and_a_restart_repeats_nothing,
                a_group_follows_its_role_there_and_back,
                row_74_a_claim_leaves_and_another_joins,
                row_74_who_leaves_is_freed_only_after_the_driver_knows,
                row_78_a_group_is_deleted_in_order,
            }
            ungrouped {
                row_75_what_cannot_be_a_group_is_said_and_not_called_for,
                row_75_classes_that_make_no_sense_are_said,
                a_claim_has_one_owner_a_volume_replication_or_a_group,
                row_76_a_group_that_the_driver_does_not_make_is_tried_again_and_said,
                row_77_a_group_of_another_controller_is_left_alone,
            }
            fence {
                row_79_a_network_is_fenced_and_let_back,
                row_79_a_class_wins_and_its_secret_keys_stay_here,
                row_79_a_class_whose_kind_is_not_installed_is_said_and_waited_for,
                row_79_a_fence_that_fails_is_tried_again_and_said,
                row_79_a_restart_repeats_no_call_and_another_drivers_fence_is_left_alone,
                row_80_deletion_does_not_let_anybody_back,
            }
            odd {
                row_66_a_driver_that_repeats_its_credentials_is_not_quoted,
                a_secret_that_changes_is_read_again_when_the_driver_refuses_the_old_one,
                a_secret_that_goes_harms_no_volume_that_needs_no_call,
                two_volume_replications_that_come_at_once_have_one_winner,
                a_volume_that_is_deleted_under_its_claim_is_said_and_may_come_back,
                reserved_parameters_of_a_fence_class_are_said,
            }
            agents {
                agents_with_a_driver_each_work_side_by_side_and_another_takes_over_one_alone,
                an_agent_stands_aside_while_a_csi_addons_sidecar_serves_the_driver,
                an_agent_without_replication_only_tells_how_the_drivers_do,
                an_agent_that_loses_the_lease_of_the_sidecars_leaves_the_driver_alone,
            }
            sick {
                each_code_at_each_call_is_said_and_got_over,
                a_socket_that_another_process_takes_over_is_dialled_anew_over_a_unix_socket,
                a_thousand_volumes_on_a_driver_that_hangs_or_refuses_hold_up_nobody_elses,
            }
            upstream {
                what_either_controller_left_in_order_is_taken_over_without_a_call,
                a_copy_that_either_controller_left_behind_is_looked_after_as_before,
                what_either_controller_was_deleting_is_let_go_and_no_owner_loses_its_volume,
                a_group_that_the_newer_controller_left_is_taken_over_without_a_call,
                volumes_go_from_volume_replication_operator_to_the_agent_and_back,
                volumes_go_from_kubernetes_csi_addons_to_the_agent_and_back,
            }
            hub {
                promotion_waits_for_the_grant_and_stores_the_epoch_first,
                a_stale_or_foreign_epoch_is_refused_without_a_call,
                force_needs_a_grant_for_the_very_epoch,
                drained_is_seen_within_a_fraction_of_a_second,
                the_first_sync_of_a_primary_is_seen_soon_and_then_asked_about_every_few_seconds,
                a_forced_resync_is_sent_once_per_epoch_even_across_a_crash,
                a_forced_resync_that_the_driver_refused_may_be_sent_again,
                an_order_to_resync_that_has_lapsed_is_not_carried_out_until_it_is_renewed,
                an_order_that_lapses_while_the_driver_is_away_is_not_carried_out_when_it_is_back,
                a_resync_that_the_driver_refuses_again_and_again_is_called_failed_and_sent_anew_when_asked,
                a_copy_that_was_thrown_away_once_is_known_to_be_none_though_the_next_request_is_refused,
                a_request_that_was_answered_has_not_failed_because_that_could_not_be_written,
                a_resync_that_is_slow_or_whose_driver_is_away_has_not_failed,
                a_resync_that_died_between_its_note_and_its_answer_is_in_doubt_and_not_sent_again_unasked,
                the_owner_is_never_resynced_and_auto_resync_means_nothing,
                a_grant_of_another_cluster_is_refused_until_the_hub_writes_its_own,
                a_volume_of_another_clusters_grant_is_never_switched_off,
            }
            copies {
                a_driver_that_offers_nothing_for_its_copies_is_asked_nothing_about_them,
                a_whole_copy_is_promoted_by_force_and_half_a_one_is_not_until_it_is_whole,
                half_a_copy_is_promoted_as_soon_as_that_needs_no_force,
                a_copy_whose_state_the_driver_does_not_say_is_not_promoted_by_force,
                what_never_reached_the_owner_is_recorded_before_it_is_thrown_away,
                what_is_thrown_away_is_kept_once_across_a_crash_at_each_point,
                what_cannot_be_kept_is_not_thrown_away,
                a_kept_copy_is_dropped_when_its_time_is_over_by_a_restarted_agent_too,
                a_copy_is_kept_until_its_resync_was_sent_and_from_then_on_for_its_time,
                a_copy_stays_while_the_driver_did_not_carry_out_the_resync_it_was_made_for,
                a_later_request_keeps_what_no_earlier_one_did,
                a_copy_that_is_being_dropped_is_not_counted_on_again,
                the_name_of_a_copy_is_on_record_before_the_driver_is_asked_for_it,
                a_record_that_cannot_be_written_holds_a_resync_back_only_where_a_copy_is_wanted,
                a_copy_that_takes_its_time_keeps_no_promotion_waiting,
                an_agent_that_knows_nothing_of_kept_copies_leaves_them_on_record,
            }
        }
    };
}

macro_rules! table {
    ($($module:ident { $($name:ident,)* })*) => {
        /// All of them.
        pub const ROWS: &[$crate::on::Row] = &[$($($crate::on::Row {
            name: stringify!($name),
            run: |on| Box::pin($module::$name(on)),
        },)*)*];
    };
}

each_row!(table);
