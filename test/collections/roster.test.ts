import fc from 'fast-check'
import t from 'tap'
import { Roster } from '../../src/collections/roster.ts'

await t.test('holds the members that joined and have not left, in any order', async () => {
  const steps = fc.array(fc.oneof(fc.record({ add: fc.nat() }), fc.record({ leave: fc.nat() })), { maxLength: 60 })
  fc.assert(fc.property(steps, (steps) => {
    const roster = new Roster<{ n: number }>()
    const all: { member: { n: number }; leave: () => void }[] = []
    const expected = new Set<{ n: number }>()
    for (const step of steps) {
      if ('add' in step) {
        const member = { n: step.add }
        all.push({ member, leave: roster.add(member) })
        expected.add(member)
      } else if (all.length > 0) {
        // One who has left already is asked again now and then.
        const { member, leave } = all[step.leave % all.length]!
        leave()
        expected.delete(member)
      }
      const members = roster.members()
      if (members.length !== expected.size || members.some((member) => !expected.has(member))) return false
    }
    return true
  }))
})

await t.test('a member that leaves during an iteration does not disturb it', async (t) => {
  const roster = new Roster<number>()
  const leave = [1, 2, 3].map((n) => roster.add(n))
  const seen: number[] = []
  for (const member of roster.members()) {
    seen.push(member)
    leave[0]!()
    leave[1]!()
  }
  t.same(seen, [1, 2, 3])
  t.same(roster.members(), [3])
})
