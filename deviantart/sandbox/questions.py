"""What nobody outside of DeviantArt knows, and the setting that gives each possible answer."""

from collections.abc import Mapping, Sequence

QUESTIONS: Mapping[str, Sequence[str]] = {
    "How often may one call, and do publish and submit weigh more than reads?": ["limits"],
    "How long does a blocked caller stay blocked, and does it say so?": [
        "limits", "retry_after", "rate_limit_error_code",
    ],
    "Does a second publish always give code 9?": ["second_publish"],
    "Do two publishes of one item at once make one deviation?": ["concurrent_publish"],
    "When does a work show in the lists?": ["gallery_delay_seconds"],
    "Are the lists ordered?": ["gallery_order"],
    "How long may a title be, counted in what, and what happens to a longer one?": ["title_limit", "title_limit_unit"],
    "Which characters may a title have?": ["title_characters"],
    "What happens to a tag with other characters, that is too long, or one too many?": [
        "tags", "tag_max_length", "too_many_tags",
    ],
    "How large may a file be, and how is a larger one refused?": ["max_file_bytes", "oversize"],
    "Must the policies still be accepted?": ["policies"],
    "Does publish need is_mature?": ["is_mature"],
    "Is a refresh token that was just used still good?": ["refresh_grace_seconds", "strict_reuse"],
    "What is the life of a refresh token counted from?": ["refresh_expiry"],
    "Does the old access token outlive a refresh?": ["access_after_refresh"],
    "How is a refused refresh called?": ["refresh_error"],
    "What does asking for an unknown scope do?": ["unknown_scope"],
    "Which status has a call that lacks a scope?": ["missing_scope_status"],
    "How is the daily quota told?": ["daily_quota", "quota_answer"],
    "How does a suspended account look?": ["suspended_user"],
    "May a file be uploaded again?": ["duplicate_files"],
    "What do the removed stash endpoints answer?": ["removed_endpoints"],
    "How long does an unpublished item live?": ["item_lifetime_seconds"],
    "What becomes of HTML in a description?": ["description"],
    "What does a folder for watchers or subscribers do to a publish?": ["protected_folders"],
    "May a video be published without a preview?": ["videos"],
    "How often do calls fail, how long do they take, and how fast are uploads?": [
        "error_chances", "episodes", "latency_ms", "bandwidth_bytes_per_second", "early_answer_bytes",
    ],
}  # fmt: skip
