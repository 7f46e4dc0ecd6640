"""A chat over any number of processes: rooms, who comes and goes, words for one alone.

python chat.py  # and open http://127.0.0.1:8080 in several windows; each shows its process
"""

import json
import os

from workhive import Response, Worker, members_of_room, place, run, send_to_all, send_to_room, send_to_uid

PAGE = os.environ.get("CHAT_PAGE", "127.0.0.1:8080")  # where the page is
WEBSOCKET = os.environ.get("CHAT_WS", "127.0.0.1:8081")  # where the page connects to

page = Worker(f"http://{PAGE}", name="page")
chat = Worker(f"websocket://{WEBSOCKET}", name="chat", count=4)


@page.on_message
def show(connection, request):
    if request.path == "/":
        return Response.html(HTML.replace("WS_PORT", WEBSOCKET.rpartition(":")[2]))
    return Response("not here", 404)


def line(who, what):
    return json.dumps({"line": f"{who} {what}"})


@chat.on_uid_online
def comes(worker, name):
    # Every process is told who comes and goes; one of them passes it on.
    if place().slot == 0:
        send_to_all(line(name, "is online"))


@chat.on_uid_offline
def goes(worker, name):
    if place().slot == 0:
        send_to_all(line(name, "has gone"))


@chat.on_message
async def on_message(connection, message):
    said = json.loads(message)
    me = connection.uid
    if me is None:
        await enter(connection, said["name"], said["room"])
    elif "to" not in said:
        send_to_room(connection.data, line(me, f"says: {said['say']}"))
    elif not await send_to_uid(said["to"], line(me, f"says to you alone: {said['say']}")):
        connection.send(line(said["to"], "is not there"))


async def enter(connection, name, room):
    """The first message: {"name": "ann", "room": "lobby"}."""
    connection.data = room
    await connection.bind_uid(name)
    await connection.join_room(room)
    page = await members_of_room(room)
    here = [name for member in page.members for name in member.uids]
    connection.send(json.dumps({"slot": place().slot, "here": here}))


HTML = """<!doctype html><meta charset="utf-8"><title>chat</title>
<form id="enter"><input name="name" placeholder="name" required autofocus>
  <input name="room" value="lobby" required><button>enter</button></form>
<form id="talk" hidden>
  <input name="words" placeholder="words; @name words for one alone" size="50"><button>say</button></form>
<p id="where"></p><ul id="log"></ul>
<script>
const $ = id => document.getElementById(id);
$("enter").onsubmit = event => {
  event.preventDefault();
  const me = Object.fromEntries(new FormData($("enter")));
  const ws = new WebSocket(`ws://${location.hostname}:WS_PORT`);
  const inside = yes => { $("talk").hidden = !yes; $("enter").hidden = yes; };
  ws.onopen = () => ws.send(JSON.stringify(me));
  ws.onclose = () => { $("where").textContent = "disconnected"; inside(false); };
  ws.onmessage = ({data}) => {
    const {line, slot, here} = JSON.parse(data);
    if (line) return $("log").prepend(Object.assign(document.createElement("li"), {textContent: line}));
    $("where").textContent = `${me.name} in ${me.room}, process ${slot}; here: ${here.join(", ")}`;
    inside(true);
  };
  $("talk").onsubmit = event => {
    event.preventDefault();
    const [, to, alone] = /^@(\\S+) (.*)/.exec($("talk").words.value) ?? [];
    ws.send(JSON.stringify(to ? {to, say: alone} : {say: $("talk").words.value}));
    $("talk").reset();
  };
};
</script>"""

if __name__ == "__main__":
    run(page, chat)
