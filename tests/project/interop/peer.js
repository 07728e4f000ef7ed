// A peer on zeromq.js: `node peer.js FOLDER`, where FOLDER has node_modules. The protocol is in matrix.py.
"use strict"

const { createRequire } = require("module")
const readline = require("readline")
const require_there = createRequire(process.argv[2] + "/")
const zmq = require_there("zeromq")

const TYPES = {
  REQ: zmq.Request, REP: zmq.Reply, DEALER: zmq.Dealer, ROUTER: zmq.Router, PUSH: zmq.Push, PULL: zmq.Pull,
  PUB: zmq.Publisher, SUB: zmq.Subscriber, XPUB: zmq.XPublisher, XSUB: zmq.XSubscriber, PAIR: zmq.Pair,
}
const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

function crc32(data, crc) {
  crc = ~crc
  for (let i = 0; i < data.length; i++) crc = TABLE[(crc ^ data[i]) & 255] ^ (crc >>> 8)
  return ~crc >>> 0
}

function part(spec) {
  if (spec[0] === "=") return Buffer.from(spec.slice(1))
  const data = Buffer.alloc(Number(spec))
  for (let i = 0; i < data.length; i++) data[i] = i % 251
  return data
}

function message(spec) {
  return spec.split(",").flatMap(each => {
    const [size, count] = each[0] === "=" ? [each, 1] : each.split("x")
    return Array(Number(count || 1)).fill(part(size))
  })
}

let socket, handler

// The ZAP handler. It accepts peers with this user name and password.
async function handle(username, password) {
  for await (const [version, id, domain, address, identity, mechanism, name, word] of handler) {
    const good = name.toString() === username && word.toString() === password
    await handler.send([version, id, good ? "200" : "400", "", "user", ""])
  }
}

const verbs = {
  async open(kind, how, url, mechanism, ...keys) {
    socket = new TYPES[kind]({ linger: 0 })
    if ("sendTimeout" in socket) socket.sendTimeout = 5000
    if (mechanism === "curve-server") [socket.curveServer, socket.curveSecretKey] = [true, keys[0]]
    if (mechanism === "curve-client") [socket.curveServerKey, socket.curvePublicKey, socket.curveSecretKey] = keys
    if (mechanism === "plain-client") [socket.plainUsername, socket.plainPassword] = keys
    if (mechanism === "plain-server") {
      handler = new zmq.Reply({ linger: 0 })
      await handler.bind("inproc://zeromq.zap.01")
      handle(...keys)
      socket.plainServer = true
    }
    if (how === "connect") socket.connect(url)
    else await socket.bind(url)
    return "ok " + (how === "bind" ? socket.lastEndpoint : url)
  },
  async subscribe(topic) {
    if (socket instanceof zmq.XSubscriber) await socket.send("\x01" + topic)
    else socket.subscribe(topic)
    return "ok"
  },
  async send(specs) {
    for (const spec of specs.split("/")) await socket.send(message(spec))
    return "ok"
  },
  async recv(count, milliseconds) {
    socket.receiveTimeout = Number(milliseconds)
    let number = 0, total = 0, size = 0, crc = 0
    try {
      for (; number < Number(count); number++) {
        const parts = await socket.receive()
        parts.forEach((each, index) => {
          const mark = `${each.length}${index === parts.length - 1 ? "." : "+"}`
          crc = crc32(each, crc32(Buffer.from(mark), crc))
          size += each.length
        })
        total += parts.length
      }
    } catch (error) {
      if (error.code !== "EAGAIN") throw error
    }
    return `got ${number} ${total} ${size} ${crc}`
  },
  async echo(count, milliseconds) {
    socket.receiveTimeout = Number(milliseconds)
    for (let i = 0; i < Number(count); i++) await socket.send(await socket.receive())
    return "ok"
  },
  async close() {
    socket.close()
    if (handler) handler.close()
    handler = undefined
    return "ok"
  },
}

async function main() {
  const known = ["tcp", "plain", "plain-server", ...["ipc", "curve"].filter(each => zmq.capability[each])]
  const probe = new zmq.Pull()
  await probe.bind("ws://127.0.0.1:*").then(() => known.push("ws"), () => {}) // `capability` does not list ws
  probe.close()
  const version = require_there("zeromq/package.json").version
  console.log(`hello zeromq.js ${version} (libzmq-${zmq.version}) knows ${known.join(" ")}`)
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, ...words] = line.split(" ")
    try {
      console.log(await verbs[verb](...words))
    } catch (error) {
      console.log(`error ${error.code || error.name}: ${error.message}`)
    }
  }
  process.exit(0)
}

main()
