//! Which events a store publishes, and when.

use std::sync::Arc;
use std::sync::Mutex;

use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::digest::HOLD;
use webex_tokend::store::outbox::SUBSCRIBERS;

use crate::store::fixtures::at;
use crate::store::outbox::FullStore;
use crate::store::outbox::listed;
use crate::store::outbox::notice_of;
use crate::store::outbox::release_all;
use crate::store::outbox::use_sinks;

/// The published events: type, person and whether a digest replaces it.
type Published = Arc<Mutex<Vec<(String, bool)>>>;

fn publish(store: &dyn FullStore) -> Published {
    let published = Published::default();
    let into = published.clone();
    store.publish_to(Arc::new(move |events| {
        let mut into = into.lock().unwrap();
        into.extend(events.iter().map(|event| (event.notice.id.clone(), event.is_in_digest)));
    }));
    published
}

fn take(published: &Published) -> Vec<(String, bool)> {
    std::mem::take(&mut *published.lock().unwrap())
}

both_stores!(an_event_is_published_once_when_its_hold_ends, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    let published = publish(&*store);
    let (held, at_once) = (notice_of("ada", 1, 0), Notice::new(NoticeType::StoreFailing, None, "1", at(0)));
    store.add(OutboxEntries::of(held.clone())).await.unwrap();
    assert_eq!(take(&published), []);
    for _ in 0..2 {
        store.add(OutboxEntries::of(at_once.clone())).await.unwrap();
    }
    assert_eq!(take(&published), [(at_once.id.clone(), false)]);
    release_all(&*store, at(0) + HOLD).await;
    assert_eq!(take(&published), [(held.id.clone(), false)]);
    release_all(&*store, at(0) + 10 * HOLD).await;
    store.resend(held.id, at(900)).await.unwrap();
    assert_eq!(take(&published), []);
});

both_stores!(an_event_in_a_digest_is_marked_and_the_digest_is_published, async |store: Arc<
    dyn FullStore,
>| {
    use_sinks(&*store, &["webhook"]);
    let published = publish(&*store);
    for n in 0..21 {
        store.add(OutboxEntries::of(notice_of(&format!("p{n}"), 1, 0))).await.unwrap();
    }
    release_all(&*store, at(0) + HOLD).await;
    let joined = take(&published);
    assert_eq!(joined.iter().filter(|(_, is_in_digest)| *is_in_digest).count(), 21);
    assert_eq!(joined.len(), 21);
    release_all(&*store, at(0) + 2 * HOLD).await;
    let digest = listed(&*store).await.remove(0).notice;
    assert_eq!(digest.kind, NoticeType::Digest);
    assert_eq!(take(&published), [(digest.id, false)]);
});

both_stores!(without_a_sink_an_event_is_published_with_its_change, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &[]);
    let published = publish(&*store);
    let notice = notice_of("ada", 1, 0);
    store.add(OutboxEntries::of(notice.clone())).await.unwrap();
    assert_eq!(take(&published), [(notice.id, false)]);
});

both_stores!(what_subscribers_have_got_already_is_not_published_again, async |store: Arc<dyn FullStore>| {
    for sinks in [&["webhook"][..], &[]] {
        use_sinks(&*store, sinks);
        let published = publish(&*store);
        let notice = Notice::new(NoticeType::StoreFailing, None, sinks.first().unwrap_or(&""), at(0));
        let mut outbox_entries = OutboxEntries::of(notice.clone());
        outbox_entries.delivered.push((notice.id, SUBSCRIBERS.to_owned()));
        store.add(outbox_entries).await.unwrap();
        assert_eq!(take(&published), []);
    }
});
