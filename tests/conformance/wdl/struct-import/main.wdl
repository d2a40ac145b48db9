version 1.1
import "shapes.wdl" as shapes alias Box as Crate
struct Box { String label }
workflow w {
  Crate crate = Crate { width: 2, height: 3 }
  Box box = Box { label: "mine" }
  call shapes.area { input: box = crate }
  output { Int area_of = area.result  String label = box.label }
}
