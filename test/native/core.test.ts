// docs/decisions/0182-a-native-core.md. Without a binary for this platform there is nothing to test but that TypeScript runs.
import { createCipheriv, createHmac, createSecretKey, hkdfSync, randomBytes, randomInt } from 'node:crypto'
import t from 'tap'
import { coreInUse, coreReason, loadNativeCore, nativeCore, replaceNativeCore, type NativeStream } from '../../src/native/core.ts'

const before = nativeCore()
t.teardown(() => {
  replaceNativeCore(before)
})

await t.test('switched off, TypeScript runs and says why', async (t) => {
  loadNativeCore(false)
  t.strictSame([nativeCore(), coreInUse(), coreReason()], [null, 'javascript', 'switched off'])
})

loadNativeCore(true)
const core = nativeCore()
if (core === null) {
  await t.test('without a binary TypeScript runs and says why', async (t) => {
    t.strictSame([coreInUse(), coreReason()], ['javascript', `there is none for ${process.platform}-${process.arch}`])
  })
} else {
  const [secret, salt, label, nonce] = [randomBytes(32), randomBytes(32), randomBytes(20), randomBytes(12)] as const
  const key = Buffer.from(hkdfSync('sha256', secret, salt, label, 32))
  const inNode = (plaintext: Buffer): Buffer => {
    const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: 16 })
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  }

  await t.test('seals in pieces as node:crypto does, and writes nothing beside its place', async (t) => {
    t.strictSame([coreInUse(), coreReason()], ['native', ''])
    const stream = core.create(secret, salt, label, true)
    for (const size of [0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257, 4096, 65_479, 65_480, 65_520, 65_536, 1_000_003]) {
      const plaintext = randomBytes(size)
      const chunk = Buffer.concat([randomBytes(3), plaintext, randomBytes(5)])
      const copy = Buffer.from(chunk)
      const out = Buffer.alloc(7 + size + 16 + 9, 0xaa)
      core.begin(stream, nonce)
      for (let done = 0; done < size;) {
        const length = Math.min(size - done, randomInt(1, 40_000))
        core.update(stream, chunk, 3 + done, length, out, 7 + done)
        done += length
      }
      core.tag(stream, out, 7 + size)
      t.ok(out.subarray(7, -9).equals(inNode(plaintext)), `${size} bytes`)
      t.ok(chunk.equals(copy), 'the chunk is as it was')
      t.ok([...out.subarray(0, 7), ...out.subarray(-9)].every((byte) => byte === 0xaa))
    }
  })

  await t.test('opens in place and elsewhere, and refuses every other tag, key, nonce and byte', async (t) => {
    const sealed = inNode(randomBytes(100))
    const other = core.create(randomBytes(32), salt, label, false)
    const stream = core.create(secret, salt, label, false)
    const opens = (bytes: Buffer, with_: NativeStream, start: Buffer): boolean => {
      const place = Buffer.from(bytes)
      core.begin(with_, start)
      core.update(with_, place, 0, 100, place, 0)
      return core.verify(with_, place.subarray(100))
    }
    t.ok(opens(sealed, stream, nonce))
    t.notOk(opens(sealed, other, nonce), 'another key')
    t.notOk(opens(sealed, stream, randomBytes(12)), 'another nonce')
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const wrong = Buffer.from(sealed)
      wrong.writeUInt8(wrong.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      if (opens(wrong, stream, nonce)) t.fail(`bit ${bit}`)
    }
    t.ok(opens(sealed, stream, nonce), 'and goes on after all of them')
    t.equal(opens(sealed, other, nonce), false)
  })

  await t.test('streams do not depend on each other', async (t) => {
    const streams = Array.from({ length: 50 }, () => ({ own: randomBytes(32), plaintext: randomBytes(randomInt(1, 3000)) }))
    const running = streams.map((one) => ({ ...one, stream: core.create(one.own, salt, label, true), out: Buffer.alloc(one.plaintext.length + 16) }))
    for (const { stream } of running) core.begin(stream, nonce)
    for (const { stream, plaintext, out } of running) core.update(stream, plaintext, 0, plaintext.length, out, 0)
    for (const { stream, plaintext, out, own } of running) {
      core.tag(stream, out, plaintext.length)
      const cipher = createCipheriv('aes-256-gcm', Buffer.from(hkdfSync('sha256', own, salt, label, 32)), nonce, { authTagLength: 16 })
      t.ok(out.equals(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])))
    }
  })

  await t.test('derives as node:crypto does', async (t) => {
    const sizes = [[32, 1, 1, 1], [32, 31, 20, 16], [32, 32, 18, 32], [16, 32, 60, 32], [65, 63, 65, 31], [1, 64, 1000, 32], [1024, 64, 1024, 32]] as const
    for (const [from, salted, labelled, size] of sizes) {
      const given = [randomBytes(from), randomBytes(salted), randomBytes(labelled)] as const
      const copies = given.map((bytes) => Buffer.from(bytes))
      const out = Buffer.alloc(size + 8, 0xaa)
      core.derive(...given, out.subarray(4, -4))
      t.ok(out.subarray(4, -4).equals(Buffer.from(hkdfSync('sha256', ...given, size))), `${from} ${salted} ${labelled} ${size}`)
      t.ok([...out.subarray(0, 4), ...out.subarray(-4)].every((byte) => byte === 0xaa))
      t.ok(given.every((bytes, i) => bytes.equals(copies[i] ?? nonce)), 'what was given is as it was')
    }
    const place = Buffer.from(secret)
    core.derive(place, nonce, nonce, place)
    t.ok(place.equals(Buffer.from(hkdfSync('sha256', secret, nonce, nonce, 32))), 'the secret may be overwritten by what is derived from it')
  })

  await t.test('a box is one of node:crypto, opens, in its place and beside it, and refuses every other bit of it', async (t) => {
    const source = [secret, salt, label] as const
    for (const [size, extra] of [[0, 0], [0, 5], [1, 0], [15, 16], [16, 100], [17, 1], [200, 70], [4096, 0], [70_001, 3000]] as const) {
      const [plaintext, aad] = [randomBytes(size), randomBytes(extra)]
      const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: 16 }).setAAD(aad)
      const wanted = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
      const sealed = Buffer.alloc(size + 16)
      core.sealOnce(...source, nonce, aad, plaintext, sealed.subarray(0, size), sealed.subarray(size))
      t.ok(sealed.equals(wanted), `${size} bytes`)
      const place = Buffer.concat([plaintext, Buffer.alloc(16)])
      core.sealOnce(...source, nonce, aad, place.subarray(0, size), place.subarray(0, size), place.subarray(size))
      t.ok(place.equals(wanted), `${size} bytes in their place`)
      t.ok(core.openOnce(...source, nonce, aad, place.subarray(0, size), place.subarray(0, size), place.subarray(size)))
      t.ok(place.subarray(0, size).equals(plaintext))
      const out = Buffer.alloc(size, 0xaa)
      const opens = (bytes: Buffer): boolean => core.openOnce(...source, nonce, aad, bytes.subarray(0, size), out, bytes.subarray(size))
      t.ok(opens(sealed) && out.equals(plaintext))
      for (let bit = 0; bit < sealed.length * 8; bit += 1 + (sealed.length >> 5)) {
        const wrong = Buffer.from(sealed)
        wrong.writeUInt8(wrong.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
        if (opens(wrong) || !out.every((byte) => byte === 0)) t.fail(`bit ${bit}`)
      }
      const other = randomBytes(32)
      for (
        const args of [[other, salt, label, nonce, aad], [secret, other, label, nonce, aad], [secret, salt, other, nonce, aad], [
          ...source,
          randomBytes(12),
          aad
        ], [...source, nonce, randomBytes(extra + 1)]] as const
      ) t.notOk(core.openOnce(...args, sealed.subarray(0, size), out, sealed.subarray(size)))
      t.ok(opens(sealed) && out.equals(plaintext), 'and goes on after all of them')
    }
  })

  await t.test('signs as node:crypto does', async (t) => {
    for (const [size, length] of [[1, 0], [31, 1], [32, 55], [32, 56], [32, 200], [63, 64], [64, 100_000]] as const) {
      const [own, text] = [randomBytes(size), randomBytes(length)]
      const out = Buffer.alloc(40, 0xaa)
      core.sign(own, text, out.subarray(4, -4))
      t.ok(out.subarray(4, -4).equals(createHmac('sha256', own).update(text).digest()), `${size} ${length}`)
      t.ok([...out.subarray(0, 4), ...out.subarray(-4)].every((byte) => byte === 0xaa))
    }
    const place = Buffer.from(secret)
    core.sign(place, place, place)
    t.ok(place.equals(createHmac('sha256', secret).update(secret).digest()), 'in the place of key and text')
  })

  await t.test('gives back memory, and none of what is in use', async (t) => {
    const made = Array.from({ length: 400 }, () => randomBytes(65_536))
    const kept = made.filter((_, i) => i % 2 === 0).map((bytes) => ({ bytes, copy: Buffer.from(bytes) }))
    made.length = 0
    t.type(core.trim(), 'boolean')
    t.ok(kept.every(({ bytes, copy }) => bytes.equals(copy)))
  })

  await t.test('random bytes fill their place, and no other', async (t) => {
    const seen = new Set<string>()
    for (let i = 0; i < 2000; i += 1) {
      const size = 16 + (i % 100)
      const out = Buffer.alloc(size + 8, 0xaa)
      core.random(out.subarray(4, -4))
      if ([...out.subarray(0, 4), ...out.subarray(-4)].some((byte) => byte !== 0xaa)) t.fail('beside')
      seen.add(out.toString('hex', 4, 20)).add(out.toString('hex', size - 12, size + 4))
    }
    // Of 16 bytes each, one place gives both.
    t.equal(seen.size, 4000 - 20)
  })

  await t.test('the key is copied', async (t) => {
    const own = Buffer.from(secret)
    const stream = core.create(own, salt, label, true)
    own.fill(0)
    const out = Buffer.alloc(21)
    core.begin(stream, nonce)
    core.update(stream, Buffer.from('hello'), 0, 5, out, 0)
    core.tag(stream, out, 5)
    t.ok(out.equals(inNode(Buffer.from('hello'))))
  })

  await t.test('arguments that do not fit throw, and the stream works afterwards', async (t) => {
    const sealing = core.create(secret, salt, label, true)
    const opening = core.create(secret, salt, label, false)
    const buffer = Buffer.alloc(100)
    const { create, begin, update, tag, verify, derive, sign, random, sealOnce, openOnce } = core as unknown as Readonly<
      Record<string, (...args: readonly unknown[]) => unknown>
    >
    const source = [secret, salt, label]
    const [short, mark] = [buffer.subarray(0, 20), Buffer.alloc(16)]
    const calls: readonly (() => unknown)[] = [
      () => create!(),
      () => create!(secret),
      () => create!(...source),
      () => create!(secret, salt, label, 1),
      () => create!(Buffer.alloc(0), salt, label, true),
      () => create!(secret.toString('latin1'), salt, label, true),
      () => create!(createSecretKey(secret), salt, label, true),
      () => begin!(sealing),
      () => begin!({}, nonce),
      () => begin!(undefined, nonce),
      () => begin!(buffer, nonce),
      () => begin!(sealing, buffer),
      () => begin!(sealing, new ArrayBuffer(12)),
      () => verify!(opening, buffer),
      () => verify!(opening, nonce),
      () => verify!(sealing, buffer.subarray(0, 16)),
      () => tag!(opening, buffer, 0),
      () => tag!(sealing, buffer, 85),
      () => tag!(sealing, buffer, -1),
      () => derive!(...source),
      () => derive!(Buffer.alloc(1025), salt, label, short),
      () => derive!(createSecretKey(secret), salt, label, short),
      () => derive!(secret, Buffer.alloc(0), label, short),
      () => derive!(secret, Buffer.alloc(65), label, short),
      () => derive!(secret, salt, Buffer.alloc(0), short),
      () => derive!(secret, salt, Buffer.alloc(1025), short),
      () => derive!(...source, buffer.subarray(0, 33)),
      () => derive!(...source, buffer.subarray(0, 0)),
      () => sign!(secret, label),
      () => sign!(Buffer.alloc(0), label, Buffer.alloc(32)),
      () => sign!(Buffer.alloc(65), label, Buffer.alloc(32)),
      () => sign!(createSecretKey(secret), label, Buffer.alloc(32)),
      () => sign!(secret, 'x', Buffer.alloc(32)),
      () => sign!(secret, label, Buffer.alloc(31)),
      () => sign!(secret, label, Buffer.alloc(33)),
      () => random!(),
      () => random!(16),
      () => random!(buffer.subarray(0, 0)),
      () => random!(Buffer.alloc(1025)),
      ...[sealOnce!, openOnce!].flatMap((once) => [
        () => once(...source, nonce, short, short, short),
        () => once(Buffer.alloc(0), salt, label, nonce, short, short, short, mark),
        () => once(secret, Buffer.alloc(65), label, nonce, short, short, short, mark),
        () => once(secret, salt, 'x', nonce, short, short, short, mark),
        () => once(...source, short, short, short, short, mark),
        () => once(...source, nonce, null, short, short, mark),
        () => once(...source, nonce, short, short, buffer.subarray(0, 21), mark),
        () => once(...source, nonce, short, short, buffer.subarray(1, 21), mark),
        () => once(...source, nonce, short, short, buffer.subarray(19, 39), mark),
        () => once(...source, nonce, short, short, short, buffer.subarray(19, 35)),
        () => once(...source, nonce, short, short, Buffer.alloc(20), buffer.subarray(4, 20)),
        () => once(...source, nonce, short, Buffer.alloc(20), short, buffer.subarray(4, 20)),
        () => once(...source, nonce, short, short, short, buffer.subarray(20, 35)),
        () => once(...source, nonce, short, short, short, 'x'.repeat(16))
      ]),
      ...[-1, 1.5, Number.NaN, Infinity, 2 ** 32, 2 ** 53, '1', null, undefined, 1n].flatMap((wrong) => [
        () => update!(sealing, buffer, wrong, 1, buffer, 0),
        () => update!(sealing, buffer, 0, wrong, buffer, 0),
        () => update!(sealing, buffer, 0, 1, buffer, wrong)
      ]),
      () => update!(sealing, buffer, 0, 101, Buffer.alloc(200), 0),
      () => update!(sealing, buffer, 100, 1, buffer, 0),
      () => update!(sealing, buffer, 99, 2, buffer, 0),
      () => update!(sealing, Buffer.alloc(200), 0, 101, buffer, 0),
      () => update!(sealing, buffer, 0, 1, buffer, 100),
      () => update!(sealing, buffer, 0, 2 ** 32 - 1, buffer, 2 ** 32 - 1),
      () => update!(sealing, buffer, 0, 50, buffer, 1),
      () => update!(sealing, buffer, 1, 50, buffer, 0),
      () => update!(sealing, buffer, 0, 50, buffer, 49),
      () => update!(sealing, 'x'.repeat(100), 0, 1, buffer, 0),
      () => update!(sealing, buffer, 0, 1, {}, 0)
    ]
    for (const begun of [false, true]) {
      for (const [i, call] of calls.entries()) {
        if (begun) {
          core.begin(sealing, nonce)
          core.begin(opening, nonce)
        }
        t.throws(call, Error, `${i}`)
      }
    }
    t.ok(buffer.equals(Buffer.alloc(100)))
    const detached = Buffer.from(new ArrayBuffer(64))
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    core.begin(sealing, nonce)
    t.throws(() => {
      core.update(sealing, detached, 0, 64, buffer, 0)
    })
    t.throws(() => {
      core.tag(sealing, detached, 0)
    })
    core.update(sealing, buffer, 0, 50, buffer, 50)
    t.ok(buffer.subarray(50).equals(inNode(Buffer.alloc(50)).subarray(0, 50)), 'side by side in one buffer')
  })

  await t.test('nothing goes through a segment that has not begun or has ended: OpenSSL would make up a nonce', async (t) => {
    const sealing = core.create(secret, salt, label, true)
    const opening = core.create(secret, salt, label, false)
    const out = Buffer.alloc(32)
    const dead = (): void => {
      t.throws(() => {
        core.update(sealing, out, 0, 16, out, 0)
      })
      t.throws(() => {
        core.tag(sealing, out, 0)
      })
      t.throws(() => core.verify(opening, out.subarray(0, 16)))
      t.throws(() => {
        core.update(opening, out, 0, 16, out, 0)
      })
    }
    dead()
    core.begin(sealing, nonce)
    core.tag(sealing, out, 0)
    core.begin(opening, nonce)
    core.verify(opening, out.subarray(0, 16))
    dead()
    core.begin(opening, nonce)
    core.verify(opening, Buffer.alloc(16))
    dead()
  })
}
