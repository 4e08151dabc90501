import t from 'tap'
import { startTestStore } from '../support/hostile.ts'
import { rewrapUnderFire } from './under-fire.ts'

await t.test('killed at random and begun again, while clients write, tag and read', async (t) => {
  const store = await startTestStore({ keepBodies: false })
  t.teardown(() => store.close())
  const damage = await rewrapUnderFire({
    store,
    objects: 30,
    multipart: 1,
    meanBytes: 30_000,
    stateBucket: 'sealgate-state',
    buckets: ['fire', 'fire-versions'],
    guarded: true,
    life: [20, 150],
    pauseMs: 300,
    kills: 1,
    say: (line) => {
      t.comment(line)
    }
  })
  t.same(damage.faults, [])
  t.ok(damage.kills > 0, 'it was killed')
  t.same(damage.usage.map(({ keyId }) => keyId).filter((id) => id !== damage.current && id !== 'ssec'), [])
  t.ok(damage.moved < damage.stored / 2, 'no body was moved')
  t.comment(`${damage.kills} kills in ${damage.runs} runs; ${damage.writes} overwrites, ${damage.tags} tags, ${damage.reads} reads meanwhile: 0 lost`)
  t.comment(`${damage.moved.toLocaleString('en')} bytes between command and store for ${damage.stored.toLocaleString('en')} bytes of bodies`)
})
