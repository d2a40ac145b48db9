version 1.0
struct Row { String name  Int many }
task write {
  input { Map[String, String] row }
  command <<< cat ~{write_map(row)}; printf 'name\tmany\nx\t1\ny\t2\n' > rows.tsv; head -2 rows.tsv > one.tsv >>>
  output { Row one = read_object("one.tsv")  Array[Row] rows = read_objects("rows.tsv") }
}
workflow w {
  call write { input: row = { "k": "v" } }
  output { Row one = write.one  Int sum = write.rows[0].many + write.rows[1].many }
}
