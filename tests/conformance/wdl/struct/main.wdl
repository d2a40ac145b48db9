version 1.0
struct Person { String name  Int? age  Array[String] tags }
struct Team { Person lead  Array[Person] others }
task describe {
  input { Person who }
  command <<< echo '~{who.name} ~{default="unknown" who.age} ~{sep="," who.tags}' >>>
  output { String text = read_string(stdout())  Person same = who }
}
workflow w {
  input { Team team }
  scatter (each in flatten([[team.lead], team.others])) { call describe { input: who = each } }
  Person made = object { name: "Made", age: 3, tags: [] }
  output { Array[String] texts = describe.text  Array[Person] all = describe.same  Int age = select_first([made.age]) }
}
