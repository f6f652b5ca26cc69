//! Draws calls and replies from a number.

use std::time::Duration;

use weir_core::*;
use weir_wire::*;

/// Numbers that one number decides.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Small and large alike.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(10),
            1 => u64::MAX - self.below(3),
            2 => i64::MAX as u64 - 1 + self.below(3),
            _ => self.below(2_000_000_000_000),
        }
    }

    pub(crate) fn small(&mut self) -> u32 {
        self.number() as u32
    }

    /// Texts, empty ones, words that mean something elsewhere, and bytes that are no text.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => Vec::new(),
            1 => b"COUNT".to_vec(),
            2 => b"ROW".to_vec(),
            3 => (0..self.below(20)).map(|_| self.below(256) as u8).collect(),
            4 => b"5-1".to_vec(),
            _ => b"orders".to_vec(),
        }
    }

    pub(crate) fn held(&mut self) -> &'static [u8] {
        Box::leak(self.bytes().into_boxed_slice())
    }

    pub(crate) fn id(&mut self) -> EntryId {
        EntryId::new(self.number(), self.number())
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp(self.number())
    }

    pub(crate) fn millis(&mut self) -> Duration {
        Duration::from_millis(self.number())
    }

    pub(crate) fn some<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(draw(self)) } else { None }
    }

    pub(crate) fn many<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| draw(self)).collect()
    }

    fn wait(&mut self) -> Duration {
        if self.flag() { Duration::MAX } else { Duration::from_millis(1 + self.below(1_000_000)) }
    }

    fn pairs(&mut self) -> std::borrow::Cow<'static, [(&'static [u8], &'static [u8])]> {
        self.many(|draw| (draw.held(), draw.held())).into()
    }

    fn fields(&mut self) -> Fields {
        self.many(|draw| (draw.bytes(), draw.bytes()))
    }

    fn expected(&mut self) -> Expected {
        match self.below(3) {
            0 => Expected::Any,
            1 => Expected::NoEntries,
            _ => Expected::Version(self.number()),
        }
    }

    fn condition(&mut self) -> Condition {
        let field = match self.below(3) {
            0 => FieldName::Exact(self.bytes()),
            1 => FieldName::Type,
            _ => FieldName::Tenant,
        };
        let test = match self.below(3) {
            0 => ConditionTest::Equals(self.bytes()),
            1 => ConditionTest::In(self.many(Self::bytes)),
            _ => ConditionTest::Prefix(self.bytes()),
        };
        Condition { field, test }
    }

    pub(crate) fn policy(&mut self) -> Policy {
        let backoff = if self.flag() {
            Backoff::List(self.many(Self::millis))
        } else {
            Backoff::Exponential {
                first: self.millis(),
                factor_percent: self.small(),
                max: self.millis(),
                jitter_percent: self.small(),
            }
        };
        Policy {
            failures_max: self.small(),
            deliveries_max: self.small(),
            backoff,
            lease: self.millis(),
            dead_letter: self.some(Self::bytes),
            key: self.some(Self::bytes),
            filter: self.some(|draw| Filter { conditions: draw.many(Self::condition) }),
            required: self.flag(),
            retry_for_max: self.some(Self::millis),
            reset_on_class: self.flag(),
        }
    }

    fn origin(&mut self) -> GroupOrigin {
        match self.below(3) {
            0 => GroupOrigin::Beginning,
            1 => GroupOrigin::End,
            _ => GroupOrigin::After(self.id()),
        }
    }

    fn source(&mut self) -> GroupSource {
        match self.below(4) {
            0 => GroupSource::New,
            1 => GroupSource::Reclaimed { idle_min: self.some(Self::millis) },
            2 => GroupSource::Available { idle_min: self.some(Self::millis) },
            _ => GroupSource::History { after: self.id() },
        }
    }

    fn settlement(&mut self) -> Settlement {
        match self.below(5) {
            0 => Settlement::Ack,
            1 => {
                Settlement::Nak { delay: self.some(Self::millis), class: self.bytes(), reason: self.bytes() }
            }
            2 => Settlement::Release { delay: self.some(Self::millis) },
            3 => Settlement::Term { class: self.bytes(), reason: self.bytes() },
            _ => Settlement::Extend,
        }
    }

    fn settle(&mut self, settlement: Option<Settlement>) -> Settle {
        let settlement = settlement.unwrap_or_else(|| self.settlement());
        Settle { id: self.id(), token: self.some(|draw| Token(draw.number())), settlement }
    }

    fn alike(&mut self, settlement: Settlement) -> Vec<Settle> {
        (0..=self.below(3)).map(|_| self.settle(Some(settlement.clone()))).collect()
    }

    fn filter(&mut self) -> DeadLetterFilter {
        DeadLetterFilter {
            entry_ids: self.many(Self::id),
            class: self.some(Self::bytes),
            reason_contains: self.some(Self::bytes),
            conditions: self.many(Self::condition),
            redrives_max: self.some(Self::small),
        }
    }

    fn from(&mut self) -> ReadFrom {
        match self.below(6) {
            0 => ReadFrom::Start,
            1 => ReadFrom::End,
            2 => ReadFrom::Id(self.id()),
            3 => ReadFrom::After(self.id()),
            4 => ReadFrom::Position(self.number()),
            _ => ReadFrom::Time(self.time()),
        }
    }

    fn trim_to(&mut self) -> TrimTo {
        match self.below(4) {
            0 => TrimTo::Length(self.number()),
            1 => TrimTo::MinId(self.id()),
            2 => TrimTo::Bytes(self.number()),
            _ => TrimTo::Time(self.time()),
        }
    }

    fn seek_to(&mut self) -> SeekTo {
        match self.below(5) {
            0 => SeekTo::Start,
            1 => SeekTo::End,
            2 => SeekTo::After(self.id()),
            3 => SeekTo::Time(self.time()),
            _ => SeekTo::Skip(self.number()),
        }
    }

    fn retention(&mut self) -> Retention {
        Retention {
            length: self.some(Self::number),
            bytes: self.some(Self::number),
            age: self.some(Self::millis),
            hold: self.some(Self::number),
        }
    }

    fn restored(&mut self) -> RestoredRow {
        RestoredRow {
            id: self.id(),
            consumer: self.some(Self::bytes),
            idle: self.millis(),
            deliveries: self.number(),
            failures: self.number(),
            delay: self.some(Self::millis),
        }
    }

    /// A call of the nth verb.
    pub(crate) fn request(&mut self, nth: usize) -> Request<'static> {
        let (stream, group, consumer) = (self.held(), self.held(), self.held());
        match nth {
            0 => {
                let producer = self.some(|draw| Producer { name: draw.bytes(), append_id: draw.bytes() });
                let options = AppendOptions { id: self.some(Self::id), producer, expected: self.expected() };
                Request::AppendEntry(Box::new(AppendEntry { stream, fields: self.pairs(), options }))
            }
            1 => {
                let entries = self.many(|draw| BatchEntry {
                    fields: draw.pairs(),
                    id: draw.some(Self::id),
                    append_id: draw.some(Self::held),
                });
                let options = BatchOptions { producer: self.some(Self::bytes), expected: self.expected() };
                Request::AppendBatch(Box::new(AppendBatch { stream, entries, options }))
            }
            2 => {
                let options = ReadOptions {
                    from: self.from(),
                    to: self.some(Self::id),
                    backward: self.flag(),
                    count: self.number(),
                    wait: self.some(Self::wait),
                };
                Request::ReadStream(Box::new(ReadStream { stream, options }))
            }
            3 => Request::HeadOf(Box::new(HeadOf { stream })),
            4 => Request::InfoOf(Box::new(InfoOf { stream })),
            5 => {
                let options = ListStreams {
                    pattern: self.bytes(),
                    after: self.some(Self::bytes),
                    count: self.number(),
                    with_side_streams: self.flag(),
                };
                Request::ListStreamNames(Box::new(ListStreamNames { options }))
            }
            6 => Request::DeleteStream(Box::new(DeleteStream { stream })),
            7 => Request::DeleteEntries(Box::new(DeleteEntries { stream, ids: self.many(Self::id).into() })),
            8 => Request::TrimStream(Box::new(TrimStream { stream, to: self.trim_to() })),
            9 => {
                let retention = self.some(Self::retention);
                Request::SetRetention(Box::new(SetRetention { stream, retention }))
            }
            10 => Request::GetRetention(Box::new(GetRetention { stream })),
            11 => {
                let query = LostQuery {
                    group: self.some(Self::bytes),
                    after: self.some(Self::id),
                    count: self.number(),
                };
                Request::LostEntries(Box::new(LostEntries { stream, query }))
            }
            12 => {
                let options = CreateGroup { origin: self.origin(), policy: self.policy() };
                Request::CreateGroupOf(Box::new(CreateGroupOf { stream, group, options }))
            }
            13 => Request::SetPolicy(Box::new(SetPolicy { stream, group, policy: self.policy() })),
            14 => Request::GetGroup(Box::new(GetGroup { stream, group })),
            15 => Request::ListGroups(Box::new(ListGroups { stream })),
            16 => Request::DeleteGroup(Box::new(DeleteGroup { stream, group })),
            17 => {
                let options = Seek { to: self.seek_to(), dry_run: self.flag() };
                Request::SeekGroup(Box::new(SeekGroup { stream, group, options }))
            }
            18 => {
                let duration = self.some(Self::millis);
                Request::PauseGroup(Box::new(PauseGroup { stream, group, duration }))
            }
            19 => Request::ResumeGroup(Box::new(ResumeGroup { stream, group })),
            20 => Request::CreateConsumer(Box::new(CreateConsumer { stream, group, consumer })),
            21 => Request::ListConsumers(Box::new(ListConsumers { stream, group })),
            22 => {
                let pending = if self.flag() { PendingFate::HandBack } else { PendingFate::Drop };
                Request::DeleteConsumer(Box::new(DeleteConsumer { stream, group, consumer, pending }))
            }
            23 => Request::LagOf(Box::new(LagOf { stream, group })),
            24 => {
                let options = ReadGroup {
                    group: group.to_vec(),
                    consumer: consumer.to_vec(),
                    source: self.source(),
                    count: self.number(),
                    wait: self.some(Self::wait),
                    while_paused: self.flag(),
                };
                Request::ReadAsGroup(Box::new(ReadAsGroup { stream, options }))
            }
            25 => {
                let settlements = self.many(|draw| draw.settle(None)).into();
                Request::SettleEntries(Box::new(SettleEntries { stream, group, settlements }))
            }
            26 => {
                let settlement = Settlement::Nak {
                    delay: self.some(Self::millis),
                    class: self.bytes(),
                    reason: self.bytes(),
                };
                let settlements = self.alike(settlement);
                Request::NackEntries(Box::new(NackEntries { stream, group, settlements }))
            }
            27 => {
                let settlement = Settlement::Release { delay: self.some(Self::millis) };
                let settlements = self.alike(settlement);
                Request::ReleaseEntries(Box::new(ReleaseEntries { stream, group, settlements }))
            }
            28 => {
                let settlement = Settlement::Term { class: self.bytes(), reason: self.bytes() };
                let settlements = self.alike(settlement);
                Request::TermEntries(Box::new(TermEntries { stream, group, settlements }))
            }
            29 => {
                let settlements = self.alike(Settlement::Extend);
                Request::ExtendEntries(Box::new(ExtendEntries { stream, group, settlements }))
            }
            30 => {
                let options = Claim {
                    group: group.to_vec(),
                    consumer: consumer.to_vec(),
                    idle_min: self.millis(),
                    ids: self.many(Self::id),
                };
                Request::ClaimEntries(Box::new(ClaimEntries { stream, options }))
            }
            31 => {
                let options = AutoClaim {
                    group: group.to_vec(),
                    consumer: consumer.to_vec(),
                    idle_min: self.millis(),
                    start: self.id(),
                    count: self.number(),
                };
                Request::AutoClaimEntries(Box::new(AutoClaimEntries { stream, options }))
            }
            32 => Request::PendingSummaryOf(Box::new(PendingSummaryOf { stream, group })),
            33 => {
                let query = PendingQuery {
                    consumer: self.some(Self::bytes),
                    idle_min: self.some(Self::millis),
                    start: self.id(),
                    end: self.id(),
                    count: self.number(),
                };
                Request::PendingRows(Box::new(PendingRows { stream, group, query }))
            }
            34 => {
                let rows = self.many(Self::restored).into();
                Request::RestorePending(Box::new(RestorePending { stream, group, rows }))
            }
            35 => {
                let query = DeadLetterQuery { filter: self.filter(), after: self.id(), count: self.number() };
                Request::DeadLetters(Box::new(DeadLetters { stream, group, query }))
            }
            36 => {
                let entry_id = self.id();
                Request::DeadLetterPeek(Box::new(DeadLetterPeek { stream, group, entry_id }))
            }
            37 => {
                let options = Redrive { filter: self.filter(), count: self.number(), dry_run: self.flag() };
                Request::RedriveDeadLetters(Box::new(RedriveDeadLetters { stream, group, options }))
            }
            _ => {
                let options = Purge { filter: self.filter(), count: self.number(), dry_run: self.flag() };
                Request::PurgeDeadLetters(Box::new(PurgeDeadLetters { stream, group, options }))
            }
        }
    }

    pub(crate) fn entry(&mut self) -> Entry {
        Entry {
            id: self.id(),
            position: self.some(Self::number),
            global_position: self.some(Self::number),
            appended_at: self.time(),
            fields: self.fields(),
        }
    }

    fn failure(&mut self) -> Failure {
        Failure { class: self.bytes(), reason: self.bytes(), at: self.time() }
    }

    pub(crate) fn delivery(&mut self) -> Delivery {
        Delivery {
            entry: self.entry(),
            token: Token(self.number()),
            deliveries: self.number(),
            failures: self.number(),
            first_failure: self.some(Self::failure),
            last_failure: self.some(Self::failure),
            lease_until: self.time(),
            redrives: self.small(),
        }
    }

    pub(crate) fn appended(&mut self) -> Appended {
        Appended { id: self.id(), is_duplicate: self.flag() }
    }

    pub(crate) fn head(&mut self) -> Head {
        Head { last_id: self.id(), version: self.some(Self::number) }
    }

    pub(crate) fn stream_info(&mut self) -> StreamInfo {
        StreamInfo {
            length: self.number(),
            last_id: self.id(),
            entries_added: self.number(),
            first_id: self.some(Self::id),
            groups: self.number(),
        }
    }

    pub(crate) fn stream_page(&mut self) -> StreamPage {
        StreamPage { names: self.many(Self::bytes), next: self.some(Self::bytes) }
    }

    pub(crate) fn kept(&mut self) -> Option<Retention> {
        self.some(Self::retention)
    }

    pub(crate) fn lost_page(&mut self) -> LostPage {
        let entries = self.many(|draw| LostEntry {
            group: draw.bytes(),
            id: draw.id(),
            was_pending: draw.flag(),
            at: draw.time(),
        });
        LostPage { entries, next: self.some(Self::id) }
    }

    pub(crate) fn group_info(&mut self) -> GroupInfo {
        GroupInfo {
            name: self.bytes(),
            origin: self.some(Self::origin),
            last_delivered_id: self.id(),
            pending: self.number(),
            consumers: self.number(),
            paused: self.flag(),
            filtered: self.number(),
            stale_settlements: self.number(),
            policy: self.some(Self::policy),
        }
    }

    pub(crate) fn consumer_info(&mut self) -> ConsumerInfo {
        ConsumerInfo { name: self.bytes(), pending: self.number(), idle: self.millis() }
    }

    pub(crate) fn lag(&mut self) -> Lag {
        Lag {
            undelivered: self.number(),
            pending: self.number(),
            ready: self.number(),
            delayed: self.number(),
            dead: self.number(),
            oldest_undelivered: self.some(Self::millis),
            oldest_pending: self.some(Self::millis),
            arrivals_per_s: self.small() as f64 / 7.0,
            drained_per_s: self.small() as f64 / 3.0,
            eta: self.some(Self::millis),
            exact: self.flag(),
        }
    }

    pub(crate) fn settled(&mut self) -> Settled {
        [Settled::Done, Settled::DeadLettered, Settled::Stale, Settled::NotPending][self.below(4) as usize]
    }

    pub(crate) fn auto_claimed(&mut self) -> AutoClaimed {
        AutoClaimed { deliveries: self.many(Self::delivery), cursor: self.id(), deleted: self.many(Self::id) }
    }

    pub(crate) fn summary(&mut self) -> PendingSummary {
        PendingSummary {
            count: self.number(),
            bounds: self.some(|draw| (draw.id(), draw.id())),
            consumers: self.many(|draw| (draw.bytes(), draw.number())),
        }
    }

    pub(crate) fn row(&mut self) -> PendingRow {
        let state = match self.below(4) {
            0 => PendingState::InFlight,
            1 => PendingState::Ready,
            2 => PendingState::Waiting,
            _ => PendingState::Delayed { until: self.time() },
        };
        PendingRow {
            id: self.id(),
            consumer: self.some(Self::bytes),
            state,
            idle: self.millis(),
            deliveries: self.number(),
            failures: self.number(),
            last_failure: self.some(Self::failure),
        }
    }

    pub(crate) fn letter(&mut self) -> DeadLetter {
        DeadLetter {
            id: self.id(),
            entry_id: self.id(),
            fields: self.fields(),
            consumer: self.some(Self::bytes),
            deliveries: self.number(),
            failures: self.number(),
            first_failure: self.some(Self::failure),
            last_failure: self.failure(),
            redrives: self.small(),
        }
    }

    pub(crate) fn redriven(&mut self) -> Redriven {
        Redriven { entry_ids: self.many(Self::id), gone: self.many(Self::id), left: self.number() }
    }
}
