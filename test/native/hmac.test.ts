// With a native core and without, for keys of every length.
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { loadNativeCore, nativeCore, replaceNativeCore } from '../../src/native/core.ts'
import { hmacSha256 } from '../../src/native/hmac.ts'

const before = nativeCore()
loadNativeCore(true)
const native = nativeCore()
t.teardown(() => {
  replaceNativeCore(before)
})

for (const core of native === null ? [null] : [null, native]) {
  await t.test(`as node:crypto, ${core === null ? 'TypeScript' : 'native'}`, async () => {
    replaceNativeCore(core)
    fc.assert(fc.property(fc.integer({ min: 1, max: 200 }), fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array()), (size, text) => {
      const key = randomBytes(size)
      return hmacSha256(createSecretKey(key), text).equals(createHmac('sha256', key).update(text).digest())
    }))
  })
}
