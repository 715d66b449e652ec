//! The known event types of a provider, and their families.
//!
//! Families become topics, so every type has one, also a type that is newer than the catalogue. A
//! catalogued type has the family under which it is listed. For any other type: a name consists of
//! words, which end at `.`, `/`, `_` or `-`. Of the catalogued types that share the longest leading
//! run of whole words with it (at least the part before the first dot or slash), more than half must
//! be in one family, and this is the type's family. Otherwise the type is [`UNCLASSIFIED`], because a
//! guess could send events to a wrong topic.

use bytestring::ByteString;
use foldhash::{HashMap, HashMapExt};

use super::pointer::Slot;

/// The family of types that resemble no catalogued type.
pub const UNCLASSIFIED: &str = "unclassified";

/// An event type in the catalogue.
#[derive(Clone, Debug)]
pub struct TypeInfo {
    /// The provider's name for the type, verbatim.
    pub name: ByteString,
    /// The type's family.
    pub family: ByteString,
    /// Whether the type is sent to webhooks and queues.
    pub webhook: bool,
    /// Whether the type is sent to connected WebSocket clients.
    pub websocket: bool,
    /// The name in the provider's documents, if it differs.
    pub alias: Option<ByteString>,
    /// Pointers to the partition key, in the order in which they are tried.
    pub key: Vec<ByteString>,
    pub(super) key_slots: Vec<Slot>,
    /// The redactions of this type, one bit each.
    pub(super) redactions: u64,
}

/// A provider's families and types.
#[derive(Clone, Debug)]
pub struct Catalogue {
    types: Vec<TypeInfo>,
    by_name: HashMap<ByteString, usize>,
    /// The families by name; the last one is [`UNCLASSIFIED`].
    families: Vec<Family>,
    /// For each leading run of words, the family of most types with it, if there is one.
    prefixes: HashMap<String, Option<usize>>,
}

/// A family, and what applies to its types that are not catalogued.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub name: ByteString,
    pub key_slots: Vec<Slot>,
    pub redactions: u64,
}

/// What follows from an event type, catalogued or not.
pub(super) struct Class<'a> {
    pub family: &'a ByteString,
    pub key_slots: &'a [Slot],
    pub redactions: u64,
}

impl Catalogue {
    /// A catalogue of these types. The last of `families` is that of unclassified types.
    pub(super) fn new(types: Vec<TypeInfo>, families: Vec<Family>) -> Self {
        let by_name = types.iter().enumerate().map(|(n, info)| (info.name.clone(), n)).collect();
        let prefixes = prefixes(&types, &families);
        Self { types, by_name, families, prefixes }
    }

    /// All types, ordered by family and name.
    pub fn types(&self) -> impl ExactSizeIterator<Item = &TypeInfo> {
        self.types.iter()
    }

    /// The type with exactly this name.
    pub fn find(&self, name: &str) -> Option<&TypeInfo> {
        self.by_name.get(name).map(|n| &self.types[*n])
    }

    /// The type with this name in the provider's documents.
    pub fn find_alias(&self, alias: &str) -> Option<&TypeInfo> {
        self.types.iter().find(|info| info.alias.as_deref() == Some(alias))
    }

    /// All families that events can have; the last one is [`UNCLASSIFIED`].
    pub fn families(&self) -> impl ExactSizeIterator<Item = &ByteString> {
        self.families.iter().map(|family| &family.name)
    }

    /// The family of a type, by the rule at the top of this file.
    pub fn family_of(&self, event_type: &str) -> ByteString {
        self.class(event_type).family.clone()
    }

    pub(super) fn class(&self, event_type: &str) -> Class<'_> {
        if let Some(info) = self.find(event_type) {
            return Class { family: &info.family, key_slots: &info.key_slots, redactions: info.redactions };
        }
        let longest = runs(event_type).rev().find_map(|run| self.prefixes.get(run)).copied();
        let family = longest.flatten().unwrap_or(self.families.len() - 1);
        let Family { name, key_slots, redactions } = &self.families[family];
        Class { family: name, key_slots, redactions: *redactions }
    }
}

/// The leading runs of whole words of a type, shortest first.
fn runs(event_type: &str) -> impl DoubleEndedIterator<Item = &str> {
    let name = event_type.find(['.', '/']).unwrap_or(event_type.len());
    let ends = event_type.match_indices(['.', '/', '_', '-']).map(|(end, _)| end);
    let ends = ends.collect::<Vec<_>>().into_iter().chain([event_type.len()]);
    ends.filter(move |end| *end >= name).map(|end| &event_type[..end])
}

/// The family of the majority, for each leading run of words of a catalogued type.
fn prefixes(types: &[TypeInfo], families: &[Family]) -> HashMap<String, Option<usize>> {
    let mut votes: HashMap<&str, Vec<usize>> = HashMap::new();
    for info in types {
        let Some(family) = families.iter().position(|family| family.name == info.family) else { continue };
        runs(&info.name).for_each(|run| votes.entry(run).or_default().push(family));
    }
    let majority = |votes: &[usize]| {
        let count = |family: usize| votes.iter().filter(|vote| **vote == family).count();
        votes.iter().copied().find(|family| count(*family) * 2 > votes.len())
    };
    votes.into_iter().map(|(run, votes)| (run.to_owned(), majority(&votes))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{builtin, builtin_named};
    use super::*;

    fn family(provider: &str, event_type: &str) -> String {
        builtin_named(provider).unwrap().catalogue.family_of(event_type).to_string()
    }

    #[test]
    fn the_documented_providers_have_all_their_types() {
        let count = |provider: &str, counts: fn(&TypeInfo) -> bool| {
            let definition = builtin_named(provider).unwrap();
            definition.catalogue.types().filter(|info| counts(info)).count()
        };
        assert_eq!([count("stream", |_| true), count("fastpix", |_| true)], [210, 40]);
        assert_eq!([count("stream", |info| info.webhook), count("fastpix", |info| info.webhook)], [177, 40]);
        assert_eq!(
            [count("stream", |info| info.websocket), count("fastpix", |info| info.websocket)],
            [178, 0]
        );
        assert_eq!(
            [count("stream", |info| info.alias.is_some()), count("fastpix", |info| info.alias.is_some())],
            [34, 0]
        );
        assert_eq!(count("github", |_| true), 227);
        assert_eq!(count("standard-webhooks", |_| true), 0);
    }

    #[test]
    fn a_type_of_every_kind_is_as_documented() {
        for (provider, name, family, key) in [
            ("stream", "call.recording_ready", "video.recording", "/call_cid"),
            ("stream", "call.session_ended", "video.session", "/call_cid"),
            ("stream", "custom", "video.user-actions", "/call_cid"),
            ("stream", "ingress.error", "video.ingress", "/call_cid"),
            ("stream", "feeds.activity.added", "feeds.activity", "/fid"),
            ("stream", "feeds.activity.feedback", "feeds.activity", "/activity_feedback/activity_id"),
            ("stream", "feeds.activity.reaction.added", "feeds.reaction", "/fid"),
            ("stream", "feeds.bookmark.added", "feeds.bookmark", "/user/id"),
            ("stream", "moderation.flagged", "moderation", "/object_id"),
            ("stream", "appeal.created", "moderation", "/appeal/entity_id"),
            ("stream", "flag.updated", "moderation", "/Message/cid"),
            ("stream", "message.flagged", "moderation", "/cid"),
            ("stream", "message.new", "chat.message", "/cid"),
            ("stream", "message.pending", "chat.message", "/channel/cid"),
            ("stream", "user.banned", "user", "/user/id"),
            ("stream", "user_group.created", "chat.user-group", "/user_group/id"),
            ("stream", "export.users.success", "export", "/task_id"),
            ("stream", "campaign.started", "chat.campaign", "/campaign/id"),
            ("fastpix", "video.media.ready", "media", "/object/id"),
            ("fastpix", "video.mediaAI.named-entities.ready", "media-ai", "/object/id"),
            ("fastpix", "video.live_stream.simulcast_target.created", "simulcast-target", "/object/id"),
            ("fastpix", "video.upload.created", "media", "/object/id"),
            ("fastpix", "fastpix.plugin.test", "plugin", "/workspaceId"),
            ("github", "merge_group.checks_requested", "merge-queue", "/merge_group/head_ref"),
            ("github", "projects_v2_item.edited", "project", "/projects_v2_item/id"),
        ] {
            let definition = builtin_named(provider).unwrap();
            let info = definition.catalogue.find(name).unwrap();
            assert_eq!((&*info.family, &*info.key[0]), (family, key), "{name}");
        }
    }

    #[test]
    fn a_name_from_the_documents_leads_to_the_name_on_the_wire() {
        let stream = builtin_named("stream").unwrap();
        let wire = |alias| stream.catalogue.find_alias(alias).map(|info| info.name.to_string());
        assert_eq!(wire("ActivityMarkEvent").as_deref(), Some("feeds.activity.marked"));
        assert_eq!(wire("PollVoteCastedFeedEvent").as_deref(), Some("feeds.poll.vote_casted"));
        assert_eq!(wire("feeds.activity.marked"), None);
    }

    #[test]
    fn every_type_has_a_family_that_is_listed_and_every_family_a_type() {
        for definition in builtin() {
            let listed: BTreeSet<_> = definition.catalogue.families().map(ToString::to_string).collect();
            let mut used: BTreeSet<_> =
                definition.catalogue.types().map(|info| info.family.to_string()).collect();
            used.insert(UNCLASSIFIED.into());
            assert_eq!(listed, used, "{}", definition.provider);
            for info in definition.catalogue.types() {
                assert_eq!(definition.catalogue.family_of(&info.name), info.family);
                assert!(info.webhook || info.websocket);
            }
        }
    }

    #[test]
    fn a_new_type_joins_the_family_that_shares_its_words() {
        for (event_type, expected) in [
            ("call.recording_paused", "video.recording"),
            ("call.recording", "video.recording"),
            ("call.recording.paused", "video.recording"),
            ("call.session_participant_waved", "video.session"),
            ("call.member_promoted", "video.members"),
            ("feeds.activity.archived", "feeds.activity"),
            ("feeds.activity.reaction.pinned", "feeds.reaction"),
            ("feeds.poll.opened", "feeds.poll"),
            ("message.starred", "chat.message"),
            ("user.promoted", "user"),
            ("user_group.renamed", "chat.user-group"),
            ("moderation.something.new", "moderation"),
            ("custom.mine", "video.user-actions"),
            ("export.calls.success", "export"),
        ] {
            assert_eq!(family("stream", event_type), expected, "{event_type}");
        }
        for (event_type, expected) in [
            ("video.media.watermark.ready", "media"),
            ("video.media.track.cancelled", "media-track"),
            ("video.mediaAI.transcript.ready", "media-ai"),
            ("video.live_stream.srt_detected", "live-stream"),
            ("video.live_stream.simulcast_target.broadcasting", "simulcast-target"),
        ] {
            assert_eq!(family("fastpix", event_type), expected, "{event_type}");
        }
        assert_eq!(family("github", "repository_dispatch.deploy"), "workflow");
    }

    #[test]
    fn a_type_that_resembles_no_family_or_several_is_unclassified() {
        for event_type in [
            "totally.made.up",
            "call.brand_new",
            "call_center.opened",
            "callx.ring",
            "Call.recording_ready",
            "user_x.created",
            "call.*",
            "*",
            "feeds.story.added",
            "cal",
            "c",
            ".",
            "_",
            "",
        ] {
            assert_eq!(family("stream", event_type), UNCLASSIFIED, "{event_type}");
        }
        assert_eq!(family("fastpix", "video.playback_id.created"), UNCLASSIFIED);
        assert_eq!(family("standard-webhooks", "invoice.paid"), UNCLASSIFIED);
    }
}
