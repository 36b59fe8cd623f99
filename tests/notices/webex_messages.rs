//! The sinks that send Webex messages through the bot, in virtual time against the simulator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;
use webex_sim::RefreshLife;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::operator::Operator;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::Notices;
use webex_tokend::notices::sink::DeliveryFuture;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::OutgoingNotice;
use webex_tokend::notices::sink::Sink;
use webex_tokend::notices::webex_sinks::OperatorMessages;
use webex_tokend::notices::webex_sinks::PeopleMessages;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::outbox::OutboxStore as _;
use webex_tokend::store::outbox::PEOPLE_SINK;
use webex_tokend::tasks::Tasks;
use webex_tokend::webex::MessageRecipient;

use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// The sink for persons. It records the time and the recipient of every message that it sends.
struct ObservedMessages {
    sink: PeopleMessages,
    sent: Mutex<Vec<(UnixTime, PersonId)>>,
}

impl Sink for ObservedMessages {
    fn name(&self) -> &str {
        self.sink.name()
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(async move {
            let answer = self.sink.deliver(outgoing).await;
            if answer == DeliveryResult::Taken {
                let person = outgoing.notice.person.as_ref().unwrap().id.clone();
                self.sent.lock().unwrap().push((outgoing.now, person));
            }
            answer
        })
    }

    fn target(&self) -> String {
        self.sink.target()
    }

    fn is_for_operators(&self) -> bool {
        self.sink.is_for_operators()
    }
}

/// Services with a bot that sends messages to persons.
struct PeopleAreTold {
    services: TestServices,
    store: Arc<MemoryStore>,
    sink: Arc<ObservedMessages>,
    _tasks: Tasks,
}

impl PeopleAreTold {
    fn with(settings: Settings) -> Self {
        let bot_token = Secret::new(settings.bot_token.clone());
        let store = Arc::new(MemoryStore::new());
        let services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
        let sink = Arc::new(ObservedMessages {
            sink: PeopleMessages {
                webex: services.webex(),
                bot_token,
                grants: store.clone(),
                outbox: store.clone(),
                operator: Operator::default(),
            },
            sent: Mutex::default(),
        });
        let context = services.context.clone();
        let notices = Notices::new(context, store.clone(), store.clone(), vec![sink.clone()]);
        let tasks = Tasks::new();
        Arc::new(notices).start(&tasks);
        Self { services, store, sink, _tasks: tasks }
    }

    async fn add(&self, person: usize, kind: NoticeType, version: &str) {
        let grant = self.services.grant(person).await;
        let notice = Notice::new(kind, Some(&grant.person), version, self.services.clock.now());
        self.store.add(OutboxEntries::of(notice)).await.unwrap();
    }

    /// The times of all messages to each person.
    fn times(&self) -> BTreeMap<PersonId, Vec<UnixTime>> {
        let mut times: BTreeMap<PersonId, Vec<UnixTime>> = BTreeMap::new();
        for (at, person) in self.sink.sent.lock().unwrap().iter() {
            times.entry(person.clone()).or_default().push(*at);
        }
        times
    }
}

fn of_operators(person: Option<&str>) -> OutgoingNotice {
    let person = person.map(|id| Person {
        email: Email::parse("ada@example.com").ok(),
        ..Person::known_by(PersonId::parse(id).unwrap())
    });
    let now = UnixTime(1_795_000_000_000);
    let notice = Notice::new(NoticeType::ConsentNeeded, person.as_ref(), "1", now);
    OutgoingNotice { notice: notice.with("consent_url", "https://tokens.example.com/oauth"), now }
}

#[tokio::test(start_paused = true)]
async fn the_bot_tells_operators_by_address_and_in_a_space() {
    let services = TestServices::new(Settings::default());
    let (token, space, email) = {
        let model = services.model();
        let settings = model.settings();
        (settings.bot_token.clone(), settings.space_id.clone(), settings.people[1].email.clone())
    };
    let to = |recipient, token: &str| {
        OperatorMessages::new(services.webex(), Secret::new(token.to_owned()), recipient)
    };
    let recipients =
        [MessageRecipient::Address(Email::parse(&email).unwrap()), MessageRecipient::Space(space.clone())];
    for recipient in recipients.clone() {
        assert_eq!(to(recipient, &token).deliver(&of_operators(Some("ada"))).await, DeliveryResult::Taken);
    }
    let sent = services.model().messages().to_vec();
    assert_eq!(sent.iter().map(|message| message.to.as_str()).collect::<Vec<_>>(), [&email, &space]);
    for message in sent {
        assert!(message.text.contains("ada@example.com"), "{}", message.text);
        assert!(message.text.contains("https://tokens.example.com/oauth"), "{}", message.text);
    }
    let stranger = MessageRecipient::Address(Email::parse("stranger@example.net").unwrap());
    let answer = to(stranger, &token).deliver(&of_operators(None)).await;
    assert!(matches!(answer, DeliveryResult::Failed { sink_failed: true, .. }), "{answer:?}");
    let answer = to(recipients[0].clone(), "another-token").deliver(&of_operators(None)).await;
    let DeliveryResult::Failed { why, sink_failed: true, .. } = &answer else { panic!("{answer:?}") };
    assert!(!why.contains("another-token"), "{why}");
    let kind = FaultKind::TooMany429 { retry_after: Some("7".to_owned()) };
    let fault = Fault { on: Endpoint::Messages, person: None, times: Some(1), kind };
    services.model().fault(fault);
    let answer = to(recipients[0].clone(), &token).deliver(&of_operators(None)).await;
    let DeliveryResult::Failed { retry_after, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test(start_paused = true)]
async fn each_person_whose_consent_ends_gets_their_own_link_at_most_once_a_day() {
    let settings = Settings { refresh_life: RefreshLife::CountsDown, ..Settings::default() };
    let mut told = PeopleAreTold::with(settings);
    told.services.start(false).await;
    told.services.consent_all(3).await;
    sleep(DAY * 100).await;
    told.services.stop().await;
    let times = told.times();
    assert_eq!(times.len(), 3, "every person gets messages");
    for (person, times) in times {
        // One message for each of the five steps before the end, and one for the end.
        assert_eq!(times.len(), 6, "{person}: {times:?}");
        let gaps = times.windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(gaps.min().unwrap() >= DAY, "{person}: {times:?}");
    }
    let model = told.services.model();
    for message in model.messages() {
        let person = model.settings().people.iter().find(|person| person.id == message.to).unwrap();
        let address = person.email.replace('@', "%40");
        assert!(message.text.contains(&address), "{}: {}", person.email, message.text);
        let others = model.settings().people.iter().filter(|other| other.id != person.id);
        let of_others = others.filter(|other| message.text.contains(&other.email)).count();
        assert_eq!(of_others, 0, "{}", message.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_message_waits_for_a_day_and_is_not_sent_when_it_is_no_longer_true() {
    let mut told = PeopleAreTold::with(Settings::default());
    told.services.start(false).await;
    told.services.consent_all(2).await;
    told.services.model().revoke_person(0);
    told.services.model().revoke_person(1);
    sleep(DAY * 2).await;
    assert_eq!(told.times().values().map(Vec::len).collect::<Vec<_>>(), [1, 1], "both lost their consent");
    for person in 0..2 {
        told.add(person, NoticeType::ConsentNeeded, "a second fact").await;
        sleep(HOUR).await;
        told.add(person, NoticeType::ConsentNeeded, "a third fact of the same day").await;
    }
    sleep(HOUR).await;
    assert_eq!(told.times().values().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    told.services.consent(0).await;
    sleep(DAY * 2).await;
    let times = told.times();
    assert_eq!(times[&told.services.id(0)].len(), 2, "this person has consented meanwhile");
    let times = &times[&told.services.id(1)];
    assert_eq!(times.len(), 3);
    assert!(times[2].since(times[1]) >= DAY, "{times:?}");
    let waiting = told.store.outbox_counts().await.unwrap();
    assert_eq!(
        waiting.iter().map(|counts| (counts.sink.as_str(), counts.waiting)).collect::<Vec<_>>(),
        [(PEOPLE_SINK, 0)]
    );
}
