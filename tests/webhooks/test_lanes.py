"""How calls are shared out between receivers: pure, by a clock that the tests move."""

from uuid import UUID

from meterhouse.webhooks.lanes import FIRST_WIDTH, MAX_CALLS, MAX_DOUBTFUL, MAX_OF_LANE, PAUSE_SECONDS, Lanes
from meterhouse.webhooks.queue_store import Found

ACCOUNT = UUID(int=1)


def due(lane_no, count):
    return [Found(ACCOUNT, UUID(int=lane_no), lane_no * 1_000 + number) for number in range(count)]


def lane(lane_no):
    return ACCOUNT, UUID(int=lane_no)


def make_well(lanes, lane_no):
    for _ in range(4):
        lanes.begin(lane(lane_no))
        lanes.end(lane(lane_no), 0.0, well=True)


def room_of(lanes, lane_no, at=0.0):
    search = lanes.search(at)
    return search.rooms.get(lane(lane_no), search.room)


def test_a_stranger_begins_with_little_and_gets_more_with_each_success():
    lanes, rooms = Lanes(), []
    for _ in range(4):
        lanes.begin(lane(1))
        rooms.append(room_of(lanes, 1) + 1)
        lanes.end(lane(1), 0.0, well=True)
    assert rooms == [FIRST_WIDTH, 4, MAX_OF_LANE, MAX_OF_LANE]


def test_one_that_fails_is_called_one_at_a_time_with_pauses():
    lanes = Lanes()
    make_well(lanes, 1)
    lanes.begin(lane(1))
    lanes.end(lane(1), 10.0, well=False)
    assert room_of(lanes, 1, 10.0) == 0
    assert room_of(lanes, 1, 10.0 + PAUSE_SECONDS) == 1
    lanes.begin(lane(1))
    assert room_of(lanes, 1, 11.0) == 0


def test_nothing_is_looked_for_while_all_calls_are_taken():
    lanes = Lanes()
    for number in range(MAX_CALLS):
        lanes.begin(lane(number))
    assert lanes.search(0.0) is None
    lanes.end(lane(0), 0.0, well=True)
    assert lanes.search(0.0).lanes == 1


def test_strangers_leave_room_for_those_that_are_well():
    lanes = Lanes()
    make_well(lanes, 99)
    for number in range(MAX_DOUBTFUL):
        lanes.begin(lane(number))
    search = lanes.search(0.0)
    assert search.room == 0
    assert search.rooms[lane(0)] == 0
    assert search.rooms[lane(99)] == MAX_OF_LANE
    chosen = lanes.choose([*due(50, 4), *due(99, 8)], search)
    assert {one.lane for one in chosen} == {lane(99)}


def test_what_is_found_is_shared_out_lane_by_lane():
    lanes = Lanes()
    for number in range(1, 5):
        make_well(lanes, number)
    for number in range(MAX_CALLS - 6):
        lanes.begin(lane(100 + number))
    search = lanes.search(0.0)
    chosen = lanes.choose([one for number in range(1, 5) for one in due(number, 8)], search)
    assert [one.lane_id.int for one in chosen] == [1, 2, 3, 4, 1, 2]
    assert [one.delivery_no % 1_000 for one in chosen] == [0, 0, 0, 0, 1, 1]


def test_the_search_goes_on_behind_the_last_lane_and_begins_anew_at_the_end():
    lanes = Lanes()
    for number in range(MAX_CALLS - 2):
        lanes.begin(lane(100 + number))
    beginning = lanes.search(0.0).after
    lanes.choose([*due(1, 1), *due(2, 1)], lanes.search(0.0))
    assert lanes.search(0.0).after == lane(2)
    lanes.choose(due(3, 1), lanes.search(0.0))
    assert lanes.search(0.0).after == beginning
