package main

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// newerCases are what came after Redis 7.0, each with the release that brought it; older servers are not asked.
var newerCases = []struct {
	since release
	proofCase
}{
	{release{7, 4}, proofCase{"XREAD from + answers the newest entry", xreadNewest}},
	{release{8, 2}, proofCase{"deletion knows who still refers to an entry", references}},
	{release{8, 4}, proofCase{"one read claims what others left and takes what is new", readAndClaim}},
	{release{8, 6}, proofCase{"a repeated idempotent append is answered with the first id", idempotence}},
	{release{8, 8}, proofCase{"a released entry is claimable at once", released}},
	{release{8, 10}, proofCase{"MAXCOUNT caps a read over all its streams", capped}},
}

// release is a major and minor version of Redis.
type release [2]int

func (r release) reached(since release) bool {
	return r[0] > since[0] || r[0] == since[0] && r[1] >= since[1]
}

// serverRelease is the release of Redis whose commands the server says it has.
func (b *bench) serverRelease() (reached release) {
	hello := must(b.open().Do(b, "HELLO").Result()).(map[any]any)
	must(fmt.Sscanf(fmt.Sprint(hello["version"]), "%d.%d", &reached[0], &reached[1]))
	return reached
}

// upTo picks the cases whose release the server has reached; it says how many it has not.
func upTo(reached release) []proofCase {
	var cases []proofCase
	for _, c := range newerCases {
		if reached.reached(c.since) {
			cases = append(cases, c.proofCase)
		}
	}
	if left := len(newerCases) - len(cases); left > 0 {
		fmt.Printf("go-redis: the server is a Redis %d.%d, so %d cases of later releases are left out\n", reached[0], reached[1], left)
	}
	return cases
}

func xreadNewest(b *bench) {
	rdb := b.open()
	stream := b.delivered(rdb, b.story.Consumer, 1)
	reply := must(rdb.XRead(b, &redis.XReadArgs{Streams: []string{stream, "+"}, Count: 3, Block: noBlock}).Result())
	same("XREAD", reply, streams(stream, b.story.messages[4]))
}

func references(b *bench) {
	rdb, group, ids := b.open(), b.story.Group, b.story.ids
	stream := b.delivered(rdb, b.story.Consumer, 2)
	same("pending, undelivered, unknown", must(rdb.XDelEx(b, stream, "ACKED", ids[0], ids[2], "1-1").Result()),
		[]any{int64(2), int64(2), int64(-1)})
	same("XACK", must(rdb.XAck(b, stream, group, ids[0]).Result()), 1)
	same("acknowledged", must(rdb.XDelEx(b, stream, "ACKED", ids[0]).Result()), []any{int64(1)})
	same("XACKDEL", must(rdb.XAckDel(b, stream, group, "KEEPREF", ids[1], ids[0]).Result()), []any{int64(1), int64(-1)})
	must(b.readGroup(rdb, b.story.Consumer, stream, ">", 1, noBlock))
	same("with its references", must(rdb.XDelEx(b, stream, "DELREF", ids[2]).Result()), []any{int64(1)})
	same("XPENDING", b.rows(rdb, stream), []string{})
	same("what is left", must(rdb.XRange(b, stream, "-", "+").Result()), b.story.messages[3:])
}

func readAndClaim(b *bench) {
	rdb, name, ids := b.open(), b.story.Consumer, b.story.ids
	stream := b.delivered(rdb, "dead", 1)
	done(rdb.Do(b, "XCLAIM", stream, b.story.Group, "dead", 0, ids[0], "IDLE", time.Hour.Milliseconds(), "JUSTID").Err())
	reply := must(rdb.XReadGroup(b, &redis.XReadGroupArgs{
		Group: b.story.Group, Consumer: name, Streams: []string{stream, ">"}, Count: 3, Block: noBlock, Claim: time.Second,
	}).Result())
	idle := reply[0].Messages[0].MillisElapsedFromDelivery
	if idle < time.Hour.Milliseconds() || idle >= 2*time.Hour.Milliseconds() {
		failf("idle %d", idle)
	}
	first := b.story.messages[0]
	first.MillisElapsedFromDelivery, first.DeliveredCount = idle, 1
	same("XREADGROUP CLAIM", reply, streams(stream, first, b.story.messages[1], b.story.messages[2]))
	same("XPENDING", b.rows(rdb, stream), []string{row(ids[0], name, 2), row(ids[1], name, 1), row(ids[2], name, 1)})
}

func idempotence(b *bench) {
	rdb, stream := b.open(), b.stream()
	done(add(b, rdb, stream, "1-1", "old").Err())
	same("XCFGSET", must(rdb.XCfgSet(b, &redis.XCfgSetArgs{Stream: stream, Duration: 60, MaxSize: 50}).Result()), "OK")
	produce := func(args redis.XAddArgs, n string) string {
		args.Stream, args.Values = stream, []string{"n", n}
		return must(rdb.XAdd(b, &args).Result())
	}
	id := produce(redis.XAddArgs{ProducerID: "p1", IdempotentID: "order-7"}, "1")
	same("again", produce(redis.XAddArgs{ProducerID: "p1", IdempotentID: "order-7"}, "2"), id)
	otherProducer := produce(redis.XAddArgs{ProducerID: "p2", IdempotentID: "order-7"}, "3")
	automatic := produce(redis.XAddArgs{ProducerID: "p1", IdempotentAuto: true}, "4")
	same("the same content", produce(redis.XAddArgs{ProducerID: "p1", IdempotentAuto: true}, "4"), automatic)
	same("XRANGE", must(rdb.XRange(b, stream, "-", "+").Result()),
		[]redis.XMessage{message("1-1", "old"), message(id, "1"), message(otherProducer, "3"), message(automatic, "4")})
	info := must(rdb.XInfoStream(b, stream).Result())
	same("XINFO STREAM", [...]int64{info.IDMPDuration, info.IDMPMaxSize, info.PIDsTracked, info.IIDsTracked, info.IIDsAdded, info.IIDsDuplicates},
		[...]int64{60, 50, 2, 3, 3, 2})
}

func released(b *bench) {
	rdb, group, name, ids := b.open(), b.story.Group, b.story.Consumer, b.story.ids
	stream := b.delivered(rdb, name, 2)
	same("XNACK", must(rdb.XNack(b, &redis.XNackArgs{
		Stream: stream, Group: group, Mode: redis.XNackModeFail, IDs: []string{ids[0], "1-1"},
	}).Result()), 1)
	same("XPENDING", b.rows(rdb, stream), []string{row(ids[0], "", 1), row(ids[1], name, 1)})
	claimed, cursor, err := rdb.XAutoClaim(b, &redis.XAutoClaimArgs{
		Stream: stream, Group: group, Consumer: other, MinIdle: time.Hour, Start: "0-0",
	}).Result()
	done(err)
	same("claimed", claimed, b.story.messages[:1])
	same("cursor", cursor, "0-0")
	same("XPENDING", b.rows(rdb, stream), []string{row(ids[0], other, 2), row(ids[1], name, 1)})
}

func capped(b *bench) {
	rdb, one, two := b.open(), b.key("one"), b.key("two")
	for _, id := range []string{"1-1", "2-2", "3-3"} {
		done(add(b, rdb, one, id, id).Err())
		done(add(b, rdb, two, id, id).Err())
	}
	reply := must(rdb.XRead(b, &redis.XReadArgs{Streams: []string{one, two, "0", "0"}, Count: 2, MaxCount: 3, Block: noBlock}).Result())
	same("XREAD", reply, append(streams(one, message("1-1", "1-1"), message("2-2", "2-2")), streams(two, message("1-1", "1-1"))...))
}
