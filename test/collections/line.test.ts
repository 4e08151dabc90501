import fc from 'fast-check'
import t from 'tap'
import { Line } from '../../src/collections/line.ts'

await t.test('holds the members that joined and have not left, in the order in which they came', async () => {
  const steps = fc.array(fc.oneof(fc.record({ add: fc.nat() }), fc.record({ leave: fc.nat() })), { maxLength: 60 })
  fc.assert(fc.property(steps, (steps) => {
    const line = new Line<{ n: number }>()
    const all: { member: { n: number }; leave: () => void }[] = []
    const expected = new Set<{ n: number }>()
    for (const step of steps) {
      if ('add' in step) {
        const member = { n: step.add }
        all.push({ member, leave: line.add(member) })
        expected.add(member)
      } else if (all.length > 0) {
        // One who has left already is asked again now and then.
        const { member, leave } = all[step.leave % all.length]!
        leave()
        expected.delete(member)
      }
      const wanted = [...expected]
      const members = line.members()
      if (members.length !== wanted.length || members.some((member, i) => member !== wanted[i])) return false
      if (line.size !== wanted.length || line.first !== wanted[0]) return false
      if (line.find(({ n }) => n % 2 === 1) !== wanted.find(({ n }) => n % 2 === 1)) return false
    }
    return true
  }))
})

await t.test('a member that leaves during an iteration does not disturb it', async (t) => {
  const line = new Line<number>()
  const leave = [1, 2, 3].map((n) => line.add(n))
  for (const _ of line.members()) {
    leave[0]!()
    leave[1]!()
  }
  t.same(line.members(), [3])
})
