//! The element database of the `mendeleev` package: its tables `elements`, `phasetransitions`, `series`, with units and
//! cited literature from `propertymetadata`.

use super::Column;

/// Tables worth reading for questions about elements; the others hold spectra and screening constants.
pub const TABLES: &[&str] = &["elements", "phasetransitions", "series", "groups", "propertymetadata"];

const fn c(
    table: &'static str,
    column: &'static str,
    name: &'static str,
    zh: &'static str,
    phrases: &'static [&'static str],
    zh_phrases: &'static [&'static str],
) -> Column {
    Column { table, column, name, zh, phrases, zh_phrases }
}

const E: &str = "elements";
const P: &str = "phasetransitions";

/// The columns people ask for. A phrase also matches in its stemmed forms.
#[rustfmt::skip]
pub(crate) const COLUMNS: &[Column] = &[
    c(E, "atomic_number", "atomic number", "原子序数", &["proton number", "number of protons", "how many protons", "nuclear charge"], &["质子数", "核电荷数"]),
    c(E, "name", "name", "名称", &["which element", "what element", "called"], &["哪种元素", "哪个元素", "什么元素", "英文名", "英文名称"]),
    c(E, "symbol", "chemical symbol", "元素符号", &["symbol", "abbreviation", "abbreviated"], &["化学符号", "符号"]),
    c(E, "atomic_weight", "atomic weight", "原子量", &["atomic mass", "standard atomic weight", "relative atomic mass", "how heavy … atom"], &["相对原子质量", "原子质量"]),
    c(E, "density", "density", "密度", &["how dense", "dense", "mass per unit volume", "mass per cubic centimeter"], &["单位体积的质量"]),
    c(P, "melting_point", "melting point", "熔点", &["melting temperature", "melt", "temperature … melt", "turn liquid", "become liquid", "solid … liquid"], &["熔化温度", "熔化", "融化", "熔解"]),
    c(P, "boiling_point", "boiling point", "沸点", &["boiling temperature", "boil", "temperature … boil", "liquid … gas", "vaporize"], &["沸腾温度", "沸腾", "汽化温度"]),
    c(P, "critical_temperature", "critical temperature", "临界温度", &[], &[]),
    c(P, "critical_pressure", "critical pressure", "临界压力", &[], &["临界压强"]),
    c(P, "triple_point_temperature", "triple point temperature", "三相点温度", &["temperature … triple point"], &[]),
    c(P, "triple_point_pressure", "triple point pressure", "三相点压力", &["pressure … triple point"], &["三相点压强"]),
    c(E, "discovery_year", "year of discovery", "发现年份", &["discovery year", "year … discovered", "when … discovered", "when … first identified", "when … found", "date of discovery", "discovery date"], &["哪一年发现", "何时被发现", "哪年发现", "什么时候发现", "什么时候被发现", "哪一年被发现", "发现于哪一年", "发现时间"]),
    c(E, "discoverers", "discoverer", "发现者", &["who discovered", "scientist … discovered", "scientist … isolated", "chemist … discovered", "who first discovered", "discovered by whom", "who found", "credited with … discover", "who identified", "who isolated"], &["谁发现", "由谁发现", "被谁发现", "发现人"]),
    c(E, "discovery_location", "place of discovery", "发现地点", &["where … discovered", "country … discovered", "discovery location", "discovery place", "location of discovery", "country of discovery", "where … found first"], &["在哪里发现", "在哪个国家发现", "在哪里被发现", "在哪个国家被发现", "发现地"]),
    c(E, "group_id", "group", "族", &["group number", "column of the periodic table", "group … periodic table"], &["第几族", "哪一族", "族序数"]),
    c(E, "period", "period", "周期", &["period number", "row of the periodic table", "period … periodic table"], &["第几周期", "哪个周期", "哪一周期"]),
    c(E, "block", "block", "区", &["orbital block", "block … periodic table"], &["哪个区", "哪一区", "元素区", "所在区", "分区"]),
    c(E, "series_id", "series", "类别", &["element series", "element category", "chemical series", "category of element", "class of element", "family", "kind of element", "type of element"], &["元素类别", "哪一类", "哪类元素", "属于哪类", "系列"]),
    c(E, "electronic_configuration", "electron configuration", "电子排布", &["electronic configuration", "electrons … arranged", "arrangement of electrons", "electron arrangement"], &["电子构型", "电子组态", "电子排布式", "核外电子"]),
    c(E, "electron_affinity", "electron affinity", "电子亲和能", &[], &["电子亲合能", "电子亲和势"]),
    c(E, "en_pauling", "Pauling electronegativity", "鲍林电负性", &["electronegativity", "electronegativity … pauling", "electronegative", "pauling scale", "pauling value"], &["电负性", "泡林电负性"]),
    c(E, "en_allen", "Allen electronegativity", "艾伦电负性", &["electronegativity … allen", "allen scale"], &["阿伦电负性"]),
    c(E, "en_ghosh", "Ghosh electronegativity", "戈什电负性", &["electronegativity … ghosh", "ghosh scale"], &[]),
    c(E, "atomic_radius", "atomic radius", "原子半径", &["radius of an atom", "how large … atom", "how big … atom", "size of … atom"], &["原子大小"]),
    c(E, "covalent_radius_pyykko", "covalent radius", "共价半径", &["single bond covalent radius", "covalent radius … pyykko"], &["单键共价半径"]),
    c(E, "covalent_radius_cordero", "Cordero covalent radius", "Cordero共价半径", &["covalent radius … cordero"], &["Cordero 共价半径"]),
    c(E, "vdw_radius", "van der Waals radius", "范德华半径", &["vdw radius"], &["范德瓦尔斯半径", "范德瓦耳斯半径"]),
    c(E, "metallic_radius", "metallic radius", "金属半径", &[], &[]),
    c(E, "dipole_polarizability", "dipole polarizability", "偶极极化率", &["polarizability", "polarizable"], &["极化率"]),
    c(E, "thermal_conductivity", "thermal conductivity", "热导率", &["heat conductivity", "conduct … heat", "conductivity"], &["导热系数", "导热率", "导热"]),
    c(E, "specific_heat_capacity", "specific heat capacity", "比热容", &["specific heat", "heat … one gram"], &["比热"]),
    c(E, "molar_heat_capacity", "molar heat capacity", "摩尔热容", &["molar heat", "heat capacity per mole"], &["摩尔热容量"]),
    c(E, "evaporation_heat", "heat of evaporation", "汽化热", &["evaporation heat", "heat of vaporization", "enthalpy of vaporization", "vaporization heat", "evaporation"], &["蒸发热", "气化热", "汽化焓", "蒸发焓"]),
    c(E, "fusion_heat", "heat of fusion", "熔化热", &["fusion heat", "enthalpy of fusion", "latent heat of fusion", "heat of melting"], &["熔解热", "熔化焓", "熔融热"]),
    c(E, "heat_of_formation", "heat of formation", "生成热", &["enthalpy of formation", "formation enthalpy", "formation heat"], &["生成焓"]),
    c(E, "proton_affinity", "proton affinity", "质子亲和能", &[], &["质子亲合能"]),
    c(E, "gas_basicity", "gas basicity", "气相碱度", &[], &["气相碱性"]),
    c(E, "lattice_constant", "lattice constant", "晶格常数", &["lattice parameter", "lattice spacing"], &["晶格参数", "点阵常数"]),
    c(E, "lattice_structure", "lattice structure", "晶格结构", &["crystal structure", "crystal lattice", "how … crystallize"], &["晶体结构", "点阵结构"]),
    c(E, "abundance_crust", "abundance in the Earth's crust", "地壳丰度", &["crustal abundance", "abundance … crust", "abundant … crust", "common … crust", "how much … crust"], &["地壳中的丰度", "地壳中的含量", "地壳含量", "地壳…丰度", "地壳…含量"]),
    c(E, "abundance_sea", "abundance in the seas", "海水丰度", &["abundance … sea", "abundance … ocean", "abundant … sea", "concentration … seawater", "abundance … seawater", "how much … sea"], &["海水中的丰度", "海水中的含量", "海洋中的丰度", "海水…丰度", "海水…含量", "海水…浓度"]),
    c(E, "cas", "CAS number", "CAS号", &["cas registry number", "cas identifier", "cas"], &["CAS登记号", "CAS 号", "CAS编号"]),
    c(E, "geochemical_class", "geochemical class", "地球化学分类", &["geochemical classification", "geochemically"], &["地球化学类别"]),
    c(E, "goldschmidt_class", "Goldschmidt class", "戈尔德施密特分类", &["goldschmidt classification", "goldschmidt"], &["戈氏分类", "戈尔德施密特类别"]),
    c(E, "price_per_kg", "price per kilogram", "每千克价格", &["price", "cost", "price per kg", "how expensive", "how much … kilogram"], &["价格", "多少钱", "每公斤价格"]),
    c(E, "production_concentration", "production concentration", "生产集中度", &["share … top producing country", "percentage … top producing country"], &["产量集中度"]),
    c(E, "top_3_producers", "top three producers", "前三大生产国", &["top 3 producers", "main producers", "largest producers", "countries … produce", "biggest producers"], &["三大生产国", "主要生产国", "最大的生产国"]),
    c(E, "top_3_reserve_holders", "top three reserve holders", "前三大储量国", &["top 3 reserve holders", "largest reserves", "reserve holders", "hold … reserves"], &["三大储量国", "主要储量国"]),
    c(E, "recycling_rate", "recycling rate", "回收率", &["how much … recycled", "percentage … recycled"], &["再生率", "循环利用率"]),
    c(E, "relative_supply_risk", "relative supply risk", "相对供应风险", &["supply risk"], &["供应风险"]),
    c(E, "mendeleev_number", "Mendeleev number", "门捷列夫数", &["mendeleev 's number"], &["门捷列夫编号"]),
    c(E, "pettifor_number", "Pettifor number", "佩蒂福数", &["pettifor scale"], &["Pettifor数", "Pettifor 数"]),
    c(E, "name_origin", "origin of the name", "名称来源", &["name … come from", "where … name … come from", "where … name from", "name … origin", "name … derived", "named after", "etymology", "origin … name", "get its name", "how … named"], &["名字来源", "名称的来源", "名字的由来", "名称由来", "命名来源", "命名"]),
    c(E, "uses", "uses", "用途", &["used for", "used in", "use of", "application", "what … used", "main use"], &["用来做什么", "做什么用", "应用", "有什么用", "用于什么"]),
    c(E, "sources", "sources", "来源", &["obtained from", "source of", "where … found", "how … obtained", "how … produced", "where … come from", "occur"], &["产自", "如何获得", "怎么获得", "从哪里获得", "存在于"]),
    c(E, "description", "description", "简介", &["describe", "tell me about", "what kind of substance"], &["介绍", "描述", "简述"])];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_and_name_is_listed_once() {
        let mut columns: Vec<_> = COLUMNS.iter().map(|c| (c.table, c.column)).collect();
        let mut names: Vec<_> = COLUMNS.iter().flat_map(|c| [c.name, c.zh]).collect();
        for list in [columns.len(), names.len() / 2] {
            assert_eq!(list, COLUMNS.len());
        }
        columns.sort_unstable();
        columns.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((columns.len(), names.len()), (COLUMNS.len(), 2 * COLUMNS.len()));
        assert!(COLUMNS.iter().all(|c| TABLES.contains(&c.table)));
    }
}
