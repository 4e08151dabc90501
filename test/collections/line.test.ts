import t from 'tap'
import { Line } from '../../src/collections/line.ts'
import { comings, type Member } from './comings.ts'

await t.test('holds the members that joined and have not left, in the order in which they came', async () => {
  comings(
    () => new Line<Member>(),
    (line) => (member) => line.add(member),
    (line, wanted) => {
      const members = line.members()
      return members.length === wanted.length && members.every((member, i) => member === wanted[i]) && line.size === wanted.length &&
        line.first === wanted[0] &&
        line.find(({ n }) => n % 2 === 1) === wanted.find(({ n }) => n % 2 === 1)
    }
  )
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
