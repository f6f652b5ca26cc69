package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	other     = "consumer-host-2"
	noBlock   = time.Duration(-1)
	smallerID = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
)

// consumerCases are the consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim,
// health.
var consumerCases = []proofCase{
	{"the protocol asked for is spoken", protocolIsSpoken},
	{"a group is created once, and BUSYGROUP is tolerated", busyGroup},
	{"the consumer handles, retries, sets aside and acknowledges", consumes},
	{"after a restart the same name finds what it held", restart},
	{"history is read page by page and counts deliveries", history},
	{"history shows a deleted entry without fields", deletedInHistory},
	{"the rows of a dead consumer are claimed", claim},
	{"the health check reads summaries by their true shape", health},
	{"a hole ahead of the group makes its lag unknown", unknownLag},
	{"a missing group or stream is named in the error", missing},
}

func (b *bench) consumer(rdb *redis.Client, name string, handle func(id, eventType string, data map[string]any) error) *consumer {
	return &consumer{
		rdb: rdb, stream: b.stream(), deadLetters: b.key("dead-letters"), group: b.story.Group, name: name, count: 2,
		deadLetterReason: b.story.DeadLetterReason, handle: handle,
	}
}

func (b *bench) publish(rdb *redis.Client, stream string) {
	for _, event := range b.story.Events {
		var values []string
		for _, field := range event.Fields {
			values = append(values, field[0], field[1])
		}
		same("XADD", must(rdb.XAdd(b, &redis.XAddArgs{Stream: stream, ID: event.ID, Values: values}).Result()), event.ID)
	}
}

func (b *bench) readGroup(rdb *redis.Client, name, stream, id string, count int64, block time.Duration) ([]redis.XStream, error) {
	return rdb.XReadGroup(b, &redis.XReadGroupArgs{
		Group: b.story.Group, Consumer: name, Streams: []string{stream, id}, Count: count, Block: block,
	}).Result()
}

func streams(name string, messages ...redis.XMessage) []redis.XStream {
	if messages == nil {
		messages = []redis.XMessage{}
	}
	return []redis.XStream{{Stream: name, Messages: messages}}
}

// delivered makes a stream with the story's events and its group, of which name has been given the first count.
func (b *bench) delivered(rdb *redis.Client, name string, count int) string {
	stream := b.stream()
	b.publish(rdb, stream)
	same("XGROUP CREATE", must(rdb.XGroupCreate(b, stream, b.story.Group, "0").Result()), "OK")
	reply := must(b.readGroup(rdb, name, stream, ">", int64(count), noBlock))
	same("XREADGROUP", reply, streams(stream, b.story.messages[:count]...))
	return stream
}

// rows are the pending entries as id, consumer and deliveries.
func (b *bench) rows(rdb *redis.Client, stream string) []string {
	rows := []string{}
	for _, row := range must(rdb.XPendingExt(b, &redis.XPendingExtArgs{
		Stream: stream, Group: b.story.Group, Start: "-", End: "+", Count: 10,
	}).Result()) {
		rows = append(rows, fmt.Sprintf("%s %s %d", row.ID, row.Consumer, row.RetryCount))
	}
	return rows
}

func row(id, name string, deliveries int) string {
	return fmt.Sprintf("%s %s %d", id, name, deliveries)
}

func (b *bench) groupIs(rdb *redis.Client, stream string, expected redis.XInfoGroup) {
	expected.Name = b.story.Group
	same("XINFO GROUPS", must(rdb.XInfoGroups(b, stream).Result()), []redis.XInfoGroup{expected})
}

func protocolIsSpoken(b *bench) {
	rdb := b.open()
	hello := must(rdb.Do(b, "HELLO").Result())
	switch reply := hello.(type) {
	case map[any]any:
		same("proto", reply["proto"], any(int64(3)))
		same("protocol", b.protocol, 3)
	case []any:
		same("proto", reply[4:6], []any{"proto", int64(2)})
		same("protocol", b.protocol, 2)
	default:
		failf("HELLO answered %v", hello)
	}
	same("PING", must(rdb.Ping(b).Result()), "PONG")
}

func busyGroup(b *bench) {
	rdb, stream := b.open(), b.stream()
	same("XGROUP CREATE", must(rdb.XGroupCreateMkStream(b, stream, b.story.Group, "0").Result()), "OK")
	failsWith(rdb.XGroupCreateMkStream(b, stream, b.story.Group, "0").Err(), "BUSYGROUP Consumer Group name already exists")
	done(b.consumer(rdb, b.story.Consumer, nil).setUpGroup(b))
	b.groupIs(rdb, stream, redis.XInfoGroup{LastDeliveredID: "0-0"})
}

func consumes(b *bench) {
	rdb := b.open()
	var handled []string
	failed := false
	c := b.consumer(rdb, b.story.Consumer, func(id, eventType string, data map[string]any) error {
		if id == b.story.FailsOnce && !failed {
			failed = true
			return errors.New("try again")
		}
		handled = append(handled, fmt.Sprintf("%s %s %s", id, eventType, data["userId"]))
		return nil
	})
	done(c.setUpGroup(b))
	b.publish(rdb, c.stream)
	var seen []int
	for range 4 {
		seen = append(seen, must(c.turn(b, 50*time.Millisecond)))
	}

	// The second turn meets the entry that failed, then the next two new ones.
	same("entries per turn", seen, []int{2, 3, 1, 0})
	same("handled", handled, b.story.Handled)
	letter := map[string]any{"originalId": b.story.Malformed, "reason": b.story.DeadLetterReason}
	for _, message := range b.story.messages {
		if message.ID == b.story.Malformed {
			for name, value := range message.Values {
				letter[name] = value
			}
		}
	}
	letters := must(rdb.XRange(b, c.deadLetters, "-", "+").Result())
	same("number of dead letters", len(letters), 1)
	same("dead letter", letters[0].Values, letter)
	same("XPENDING", must(rdb.XPending(b, c.stream, c.group).Result()), &redis.XPending{Consumers: map[string]int64{}})
	b.groupIs(rdb, c.stream, redis.XInfoGroup{Consumers: 1, LastDeliveredID: b.story.ids[4], EntriesRead: 5})
}

func restart(b *bench) {
	crashing := b.open()
	stream := b.delivered(crashing, b.story.Consumer, 2)
	done(crashing.Close())

	rdb := b.open()
	ids := b.story.ids
	same("before", b.rows(rdb, stream), []string{row(ids[0], b.story.Consumer, 1), row(ids[1], b.story.Consumer, 1)})
	var met []string
	c := b.consumer(rdb, b.story.Consumer, func(id, _ string, _ map[string]any) error {
		met = append(met, id)
		return nil
	})
	same("pending after the restart", must(c.processPending(b)), 2)
	same("met", met, ids[:2])
	same("after", b.rows(rdb, stream), []string{})
	same("pending of another name", must(b.consumer(rdb, other, nil).processPending(b)), 0)
}

func history(b *bench) {
	rdb := b.open()
	name, ids := b.story.Consumer, b.story.ids
	stream := b.delivered(rdb, name, 3)
	page := func(id string) []redis.XStream {
		return must(b.readGroup(rdb, name, stream, id, 2, 50*time.Millisecond))
	}
	same("first page", page("0"), streams(stream, b.story.messages[:2]...))
	same("second page", page(ids[1]), streams(stream, b.story.messages[2]))
	same("end", page(ids[2]), streams(stream))
	same("XPENDING", b.rows(rdb, stream), []string{row(ids[0], name, 2), row(ids[1], name, 2), row(ids[2], name, 2)})
}

func deletedInHistory(b *bench) {
	rdb := b.open()
	stream := b.delivered(rdb, b.story.Consumer, 2)
	same("XDEL", must(rdb.XDel(b, stream, b.story.ids[0]).Result()), 1)
	same("history", must(b.readGroup(rdb, b.story.Consumer, stream, "0", 0, noBlock)),
		streams(stream, redis.XMessage{ID: b.story.ids[0]}, b.story.messages[1]))
}

func claim(b *bench) {
	rdb := b.open()
	name, group := b.story.Consumer, b.story.Group
	stream := b.delivered(rdb, "dead", 4)
	first, second, third, fourth := b.story.ids[0], b.story.ids[1], b.story.ids[2], b.story.ids[3]
	autoClaim := func(start string, minIdle time.Duration, count int64, claimed []redis.XMessage, next string, deleted []string) {
		args := &redis.XAutoClaimArgs{Stream: stream, Group: group, Consumer: name, MinIdle: minIdle, Start: start, Count: count}
		messages, cursor, gone, err := rdb.XAutoClaimWithDeleted(b, args).Result()
		done(err)
		same("claimed", messages, claimed)
		same("cursor", cursor, next)
		same("deleted", gone, deleted)
	}

	autoClaim("0-0", time.Hour, 0, []redis.XMessage{}, "0-0", []string{})
	autoClaim("0-0", 0, 1, b.story.messages[:1], second, []string{})
	same("XCLAIM", must(rdb.XClaim(b, &redis.XClaimArgs{
		Stream: stream, Group: group, Consumer: name, Messages: []string{second, "1-1"},
	}).Result()), b.story.messages[1:2])
	same("XCLAIM JUSTID", must(rdb.XClaimJustID(b, &redis.XClaimArgs{
		Stream: stream, Group: group, Consumer: name, Messages: []string{third},
	}).Result()), []string{third})
	same("XPENDING", b.rows(rdb, stream), []string{
		row(first, name, 2), row(second, name, 2), row(third, name, 1), row(fourth, "dead", 1),
	})

	same("XDEL", must(rdb.XDel(b, stream, fourth).Result()), 1)
	autoClaim(fourth, 0, 0, []redis.XMessage{}, "0-0", []string{fourth})
	same("XACK", must(rdb.XAck(b, stream, group, first, second, third, fourth).Result()), 3)
	same("XGROUP DELCONSUMER", must(rdb.XGroupDelConsumer(b, stream, group, "dead").Result()), 0)
}

func health(b *bench) {
	rdb := b.open()
	name, ids := b.story.Consumer, b.story.ids
	stream := b.delivered(rdb, name, 2)
	must(b.readGroup(rdb, other, stream, ">", 1, noBlock))

	same("XLEN", must(rdb.XLen(b, stream).Result()), 5)
	same("XPENDING", must(rdb.XPending(b, stream, b.story.Group).Result()), &redis.XPending{
		Count: 3, Lower: ids[0], Higher: ids[2], Consumers: map[string]int64{name: 2, other: 1},
	})
	b.groupIs(rdb, stream, redis.XInfoGroup{Consumers: 2, Pending: 3, LastDeliveredID: ids[2], EntriesRead: 3, Lag: 2})
	var consumers []string
	for _, c := range must(rdb.XInfoConsumers(b, stream, b.story.Group).Result()) {
		consumers = append(consumers, fmt.Sprintf("%s %d %t", c.Name, c.Pending, c.Idle >= 0 && c.Idle < time.Minute))
	}
	same("XINFO CONSUMERS", consumers, []string{name + " 2 true", other + " 1 true"})

	info := must(rdb.XInfoStream(b, stream).Result())
	info.IDMPDuration, info.IDMPMaxSize = 0, 0 // settings of newer servers
	same("XINFO STREAM", info, &redis.XInfoStream{
		Length: 5, RadixTreeKeys: 1, RadixTreeNodes: 2, Groups: 1, LastGeneratedID: ids[4], MaxDeletedEntryID: "0-0",
		EntriesAdded: 5, FirstEntry: b.story.messages[0], LastEntry: b.story.messages[4], RecordedFirstEntryID: ids[0],
	})
}

// A null lag reads -1 in this library.
func unknownLag(b *bench) {
	rdb := b.open()
	stream := b.delivered(rdb, b.story.Consumer, 1)
	same("XDEL", must(rdb.XDel(b, stream, b.story.ids[3]).Result()), 1)
	b.groupIs(rdb, stream, redis.XInfoGroup{Consumers: 1, Pending: 1, LastDeliveredID: b.story.ids[0], EntriesRead: 1, Lag: -1})
}

func missing(b *bench) {
	rdb, stream, group := b.open(), b.stream(), b.story.Group
	read := func() error {
		_, err := b.readGroup(rdb, b.story.Consumer, stream, ">", 0, noBlock)
		return err
	}
	noGroup := fmt.Sprintf("NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option", stream, group)
	failsWith(read(), noGroup)
	failsWith(rdb.XInfoStream(b, stream).Err(), "ERR no such key")
	failsWith(rdb.XGroupCreate(b, stream, group, "0").Err(), "ERR The XGROUP subcommand requires the key to exist. "+
		"Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")
	b.publish(rdb, stream)
	failsWith(rdb.XAdd(b, &redis.XAddArgs{Stream: stream, ID: "1-1", Values: []string{"a", "1"}}).Err(), smallerID)
	same("XGROUP CREATE", must(rdb.XGroupCreate(b, stream, group, "$").Result()), "OK")
	same("nothing new", read(), error(redis.Nil))
	same("XGROUP DESTROY", must(rdb.XGroupDestroy(b, stream, group).Result()), 1)
	failsWith(read(), noGroup)
}
